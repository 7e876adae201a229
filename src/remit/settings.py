"""Every setting of Remit. Each is an environment variable `REMIT_<NAME>`; `docs/configuration.md` is made from here."""

import os
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from limits import parse_many
from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_data_dir() -> Path:
    """Where the embedded PostgreSQL keeps its data.

    Root gets a system directory: PostgreSQL refuses to run as root, and the user it runs as must be able to reach
    the data, which a private home directory does not allow.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/remit")
    return user_data_path("remit", appauthor=False)


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
FirstRole = Literal["admin", "member", "viewer"]


def is_safe_url(url: str) -> bool:
    """Whether what comes from an address can be believed: https, or this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")


class IdentityProvider(BaseModel):
    """Whose bearer tokens are accepted, and what their claims mean."""

    model_config = ConfigDict(extra="forbid")

    issuer: str = Field(description="The exact `iss` of its tokens.")
    audience: str | list[str] = Field(min_length=1, description="The `aud` that this server answers to.")
    jwks_url: str | None = Field(None, description="Where its keys are; by default found by OpenID discovery.")
    algorithms: list[Algorithm] = Field(["RS256", "ES256"], min_length=1, description="Accepted signatures.")
    tenant: str | None = Field(None, description="The tenant of everybody whom it knows.")
    tenant_claim: str | None = Field(None, description="The claim with the tenant's name or id, or a list of them.")
    subject_claim: str = "sub"
    display_name_claim: str = "name"
    service_account_claims: dict[str, str] = Field(
        default_factory=dict, description="Claims with the values that mark a service account."
    )
    role: FirstRole | None = Field("member", description="Role in the tenant of a subject that is first seen.")
    leeway_seconds: float = Field(30.0, ge=0, le=300)
    refetch_seconds: float = Field(5.0, ge=0, description="Least time between two fetches of its keys.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tenant is None) == (self.tenant_claim is None):
            raise ValueError("exactly one of tenant and tenant_claim is needed")
        if not all(is_safe_url(url) for url in (self.issuer, self.jwks_url) if url is not None):
            raise ValueError("issuer and jwks_url must be https addresses")
        return self


class TrustedProxy(BaseModel):
    """A proxy that has authenticated whom it names."""

    model_config = ConfigDict(extra="forbid")

    addresses: list[IPvAnyNetwork] = Field(min_length=1)
    secret: SecretStr = Field(min_length=32)
    secret_header: str = "x-remit-proxy-secret"  # noqa: S105 - the name of a header
    user_header: str = "x-forwarded-user"
    tenant: str | None = None
    tenant_header: str | None = None
    role: FirstRole | None = "member"
    issuer: Literal["proxy"] = "proxy"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tenant is None) == (self.tenant_header is None):
            raise ValueError("exactly one of tenant and tenant_header is needed")
        return self


class Settings(BaseSettings):
    """The configuration of one process, read once when it starts."""

    model_config = SettingsConfigDict(env_prefix="REMIT_", extra="ignore")

    # Storage
    database_url: SecretStr | None = Field(
        None, description="A PostgreSQL server (15 to 18) to use instead of the embedded one: `postgresql://…`."
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="The embedded PostgreSQL's data, socket and log. By default in the user's data directory; "
        "for root `/var/lib/remit`.",
    )
    pool_size: int = Field(10, ge=1, le=200, description="Most database connections of one server process.")
    pool_timeout: float = Field(
        5.0, gt=0, description="Seconds a request waits for a database connection before it is answered 503."
    )

    # Secrets
    secret_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="At least 32 random characters, the same in every process: what is signed or encrypted is so with "
        "keys made from it. `python -c 'import secrets; print(secrets.token_urlsafe(48))'` makes one.",
    )

    # Identity
    identity_providers: list[IdentityProvider] = Field(
        default_factory=list,
        description="Identity providers whose bearer tokens are accepted (JSON list): `issuer`, `audience`, "
        "`jwks_url`, `algorithms`, `tenant` or `tenant_claim`, `subject_claim`, `service_account_claims`, `role`; see "
        "`docs/identity.md`.",
    )
    trusted_proxy: TrustedProxy | None = Field(
        None,
        description="An authenticating proxy in front of the server (JSON): `addresses`, `secret`, `user_header`, "
        "`tenant` or `tenant_header`, `role`; see `docs/identity.md`. Off by default: no such header is believed.",
    )

    # Server
    host: str = Field("127.0.0.1", description="Address to listen on. Loopback unless told otherwise.")
    port: int = Field(5003, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(
        None,
        description="Where others reach this server, such as `https://remit.example.com`; webhook addresses begin so.",
    )
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="A larger request body is answered 413.")
    max_json_depth: int = Field(64, ge=4, le=200, description="Deeper JSON is answered 422.")
    embedded_worker: bool = Field(True, description="Run background jobs inside `remit serve`.")
    log_format: Literal["console", "json"] = Field("json", description="How log lines are written.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line logged.")

    otlp_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector that gets traces over HTTP, such as `http://127.0.0.1:4318`; needs "
        '`pip install "remit[telemetry]"`. Off by default.',
    )

    snapshot_hosts: list[str] = Field(
        default_factory=list,
        description="Hosts inside your network that callers may name for snapshots of tasks (JSON list); public "
        "addresses may always be named. https either way.",
    )

    # Limits
    rate_limit: str | None = Field(
        None,
        description="Most requests of one principal to one server process, such as `600/minute` or "
        "`20/second;5000/hour`; more are answered 429 with `retry-after`. Off by default.",
    )
    streams_per_principal: int | None = Field(
        None, ge=1, description="Most streams of one principal open at once in one server process. Off by default."
    )

    # Authorization
    authz_schema: Path | None = Field(
        None, description="A schema file in SpiceDB's language to use instead of the shipped one."
    )
    list_timeout: float = Field(
        2.0,
        gt=0,
        description="Seconds that a list of what the caller may read can take. What was settled until then is shown "
        "and can be gone on from; if nothing was, the answer is an error.",
    )
    authz_mode_cap: Literal["off", "write", "shadow", "enforce"] | None = Field(
        None,
        description="The furthest mode that any tenant's type may have. Where relationships have decided before, they "
        "and the roles must both allow below their mode.",
    )
    flag_provider: str | None = Field(
        None,
        description="A function that makes an OpenFeature provider, as `package.module:function`: its flags can raise "
        'an adopted tenant to `write` and cap its mode. Needs `pip install "remit[flags]"`.',
    )
    authz_engine: Literal["embedded", "spicedb", "http"] = Field(
        "embedded",
        description="Where a projection of the relationships is kept and asked: nowhere but in the database "
        "(`embedded`), in a SpiceDB (`spicedb`), or at an auth provider (`http`).",
    )
    authz_answers: Literal["engine", "embedded"] = Field(
        "engine",
        description="Who answers where there is an engine elsewhere: that engine, or still the relationships in the "
        "database while the engine is only told (`embedded`: before and after a move, see `docs/operations/move.md`).",
    )
    authz_on_register_failure: Literal["defer", "error"] = Field(
        "defer",
        description="When an engine elsewhere cannot be told of a new task: `defer` answers success and delivers "
        "later, `error` answers 503 that names the task and calls its agent once the engine was told.",
    )
    authz_subject_ids: Literal["external", "internal"] = Field(
        "external",
        description="How users and service accounts are called in an engine elsewhere: by the name that their identity "
        "provider uses, or by Remit's id.",
    )
    spicedb_endpoint: str | None = Field(None, description="`host:port` of SpiceDB's gRPC API, for `spicedb`.")
    spicedb_token: SecretStr | None = Field(None, description="SpiceDB's preshared key.")
    spicedb_tls: bool = Field(True, description="Whether SpiceDB's API is reached over TLS.")
    spicedb_ca: Path | None = Field(None, description="A file of certificates to trust instead of the system's.")
    statsd: str | None = Field(
        None, description="`host:port` of a DogStatsD that gets the counters of deliveries over UDP."
    )

    authz_url: SecretStr | None = Field(
        None, description="Address of the auth provider that the engine `http` asks; the contract's paths are added."
    )
    authz_timeout: float = Field(
        2.0, gt=0, description="Seconds that one request may wait for an engine elsewhere, all its calls together."
    )

    # Auth provider
    auth_host: str = Field("127.0.0.1", description="Address that `remit auth serve` listens on.")
    auth_port: int = Field(5004, ge=0, le=65535, description="Its port; 0 takes a free one.")
    auth_socket: Path | None = Field(
        None, description="A unix socket for `remit auth serve` to listen on instead of a port; for its own user only."
    )
    auth_caller_secret: SecretStr | None = Field(
        None,
        min_length=16,
        description="What servers must show to ask the provider, at least 16 characters: in the header "
        "`x-remit-caller-secret`, or in the address they are given, `http://host:5004/caller/<secret>`. "
        "Without it the provider listens on loopback or a unix socket only.",
    )
    auth_principal_lifetime: timedelta | None = Field(
        None,
        gt=timedelta(0),
        description="After which a principal that the provider handed out is refused, as `P90D` or `12:00:00`. By "
        "default it holds as long as its API key, holder and account do: servers keep principals with their schedules.",
    )
    auth_private_agents: bool = Field(
        False, description="Agents that are registered with the provider are their owner's alone, not the members'."
    )

    # Agents
    agent_enrollment: Literal["key", "open"] = Field(
        "key",
        description="`key`: an agent registers with the key that `remit agents enroll` printed. `open`: the first "
        "registration of a new name needs none and is given one; loopback only.",
    )
    default_tenant: str | None = Field(
        None, description="Tenant of agents that register under open enrolment, once there is more than one."
    )
    agent_hosts: list[str] = Field(
        default_factory=list,
        description="When set, the only hosts that an agent's address may name (JSON list; `*.example.com` works). "
        "By default any but link-local and metadata ones.",
    )
    agent_host_override: str | None = Field(
        None, description="Host dialled instead of `host.docker.internal` in an agent's address."
    )
    agent_connect_timeout: float = Field(2.0, gt=0, description="Seconds to connect to an agent.")
    agent_answer_timeout: float = Field(60.0, gt=0, description="Seconds an agent may take for its answer.")
    agent_stream_timeout: float = Field(300.0, gt=0, description="Longest gap in an agent's stream, in seconds.")
    forward_timeout: float = Field(15.0, gt=0, description="Seconds an agent may take for a forwarded request.")
    agent_max_answer_bytes: int = Field(16 * 1024 * 1024, ge=1024, description="Largest answer read from an agent.")

    # Tasks and streams
    turn_wait: float = Field(30.0, ge=0, description="Seconds a send waits while another one on its task is running.")
    turn_lease: float = Field(15.0, gt=0, description="Seconds after which the turn of a dead process is over.")
    stream_ping: float = Field(15.0, gt=0, description="Seconds without data after which a stream sends a keep-alive.")
    stream_retention: timedelta = Field(timedelta(hours=1), description="How long live updates are kept.")
    redis_url: SecretStr | None = Field(
        None,
        description="The Redis that agents publish their live updates to (their `REDIS_URL`): they then reach the "
        "streams of tasks, and the server's own updates go there too. Not needed, and no request depends on it.",
    )
    event_retention: timedelta | None = Field(
        None,
        gt=timedelta(0),
        description="How long events of tasks are kept, such as `P90D`. By default as long as their task.",
    )
    span_retention: timedelta | None = Field(
        None, gt=timedelta(0), description="How long spans are kept. By default for ever, or as long as their task."
    )
    audit_retention: timedelta | None = Field(
        None, gt=timedelta(0), description="How long the audit trail is kept. By default for ever."
    )
    outbox_retention: timedelta | None = Field(
        None,
        gt=timedelta(0),
        description="How long a change that an engine elsewhere refused for good stays listed by `remit authz outbox "
        "list`, unless it takes something away. By default until it is discarded; what is delivered goes at once.",
    )
    purge_after: timedelta = Field(timedelta(days=30), description="When the row of a deleted task or agent goes.")

    @field_validator("identity_providers")
    @classmethod
    def _each_once(cls, value: list[IdentityProvider]) -> list[IdentityProvider]:
        if len({provider.issuer for provider in value}) < len(value):
            raise ValueError("two identity providers have the same issuer")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value:
            parse_many(value)
        return value


@cache
def get_settings() -> Settings:
    """The settings of this process, read from its environment at the first call."""
    return Settings()
