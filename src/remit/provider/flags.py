"""Where an account's checks are answered, and where its relationships are written besides: flags per account.

Remit's own table is written in every case. Whoever manages the account reads and changes its flags with an API key. A
change holds from the next request on, in every process: each request reads the flags in the statement that asks whether
its principal stands.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from remit.audit import AuditEntry, write_audit
from remit.db.pool import Connection
from remit.errors import Conflict, Invalid

Backend = Literal["postgres", "spicedb", "http"]
RemoteBackend = Literal["spicedb", "http"]

# In the order in which the alias of the check route looks for one that this server has.
REMOTE: Final[tuple[RemoteBackend, ...]] = get_args(RemoteBackend)
ALIAS: Final = "FGAC_AGENTEX_AUTH_SPARK"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Flags:
    """How one account is routed.

    Attributes:
        check: who answers its checks and searches.
        dual_write: engines elsewhere that are told of its resources.
        updated_at: when they were set; None for an account that has this server's default.
    """

    check: Backend = "postgres"
    dual_write: tuple[RemoteBackend, ...] = ()
    updated_at: datetime | None = None


class AccountFlags(BaseModel):
    """An account's flags."""

    model_config = ConfigDict(populate_by_name=True)

    account_id: str
    check: Backend = Field(description="Who answers checks and searches.")
    dual_write: list[RemoteBackend] = Field(description="Engines elsewhere that are told of the account's resources.")
    spark: bool = Field(alias=ALIAS, description="The other name of `check`: whether an engine elsewhere answers.")
    updated_at: datetime | None = Field(description="When they were set; null for this server's default.")


class FlagsChange(BaseModel):
    """Flags to set; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    check: Backend | None = None
    dual_write: list[RemoteBackend] | None = None
    spark: bool | None = Field(None, alias=ALIAS, description="Another way to say `check`.")


def default_flags(backends: Collection[str], environment: Mapping[str, str] | None = None) -> Flags:
    """The flags of accounts that have none: the embedded engine, unless the alias in the environment says elsewhere.

    Args:
        backends: engines elsewhere that this server has.
        environment: where the alias is; by default the process's own.

    Raises:
        Conflict: the alias asks for an engine that there is not.
    """
    variables = os.environ if environment is None else environment
    if variables.get(ALIAS, "").strip().lower() not in _TRUE:
        return Flags()
    remote = _spark(backends)
    return Flags(remote, (remote,))


async def read_flags(connection: Connection, tenant_id: str, default: Flags) -> Flags:
    """An account's flags, or the default."""
    row = await connection.fetchrow(
        "SELECT check_backend, dual_write, updated_at FROM account_flags WHERE tenant_id = $1", tenant_id
    )
    return flags_of(row["check_backend"], row["dual_write"], row["updated_at"]) if row else default


def flags_of(check: Backend, dual_write: Collection[RemoteBackend], updated_at: datetime | None) -> Flags:
    """Flags as the table has them."""
    return Flags(check, tuple(dual_write), updated_at)


def show_flags(tenant_id: str, flags: Flags) -> AccountFlags:
    """Flags as they are told."""
    return AccountFlags(
        account_id=tenant_id,
        check=flags.check,
        dual_write=list(flags.dual_write),
        spark=flags.check != "postgres",
        updated_at=flags.updated_at,
    )


async def change_flags(
    connection: Connection, change: FlagsChange, before: Flags, entry: AuditEntry, backends: Collection[str]
) -> Flags:
    """Set an account's flags, in the caller's transaction, with their audit entry.

    Args:
        connection: in a transaction that holds the account's lock (`lock_flags`).
        change: what to set.
        before: what holds until now.
        entry: who does it, on which account; its detail is written here.
        backends: engines elsewhere that this server has.

    Raises:
        Invalid: the members contradict each other, or checks would be asked where nothing is written.
        Conflict: this server has no such engine.
    """
    check = change.check or before.check
    if change.spark is not None:
        check = _by_alias(change, before, backends)
    dual_write = tuple(dict.fromkeys(before.dual_write if change.dual_write is None else change.dual_write))
    for name in {check, *dual_write} - {"postgres", *backends}:
        raise Conflict(f"This server has no engine `{name}`; {_HOW[name]} sets one up.")
    if check not in ("postgres", *dual_write):
        raise Invalid(
            [("body.check", f"is `{check}`, which the account's resources are not written to: see dual_write")]
        )
    updated_at = await connection.fetchval(
        """
        INSERT INTO account_flags (tenant_id, check_backend, dual_write) VALUES ($1, $2, $3)
        ON CONFLICT (tenant_id) DO UPDATE
          SET check_backend = EXCLUDED.check_backend, dual_write = EXCLUDED.dual_write, updated_at = now()
        RETURNING updated_at
        """,
        entry.tenant_id,
        check,
        list(dual_write),
    )
    detail = {
        "before": {"check": before.check, "dual_write": list(before.dual_write)},
        "after": {"check": check, "dual_write": list(dual_write)},
    }
    await write_audit(connection, replace(entry, detail={**(entry.detail or {}), **detail}))
    return flags_of(check, dual_write, updated_at)


async def lock_flags(connection: Connection, tenant_id: str) -> None:
    """Let one change of an account's flags at a time read and write them."""
    await connection.execute("SELECT 1 FROM tenants WHERE id = $1 FOR NO KEY UPDATE", tenant_id)


_HOW: Final = {"spicedb": "REMIT_SPICEDB_ENDPOINT", "http": "REMIT_AUTHZ_URL"}


def _by_alias(change: FlagsChange, before: Flags, backends: Collection[str]) -> Backend:
    if change.check is not None and (change.check != "postgres") != change.spark:
        raise Invalid([(f"body.{ALIAS}", "says something else than `check`; send one of them")])
    if not change.spark:
        return "postgres"
    return change.check or (before.check if before.check != "postgres" else _spark(backends))


def _spark(backends: Collection[str]) -> RemoteBackend:
    found = next((name for name in REMOTE if name in backends), None)
    if found is None:
        raise Conflict(f"{ALIAS} asks for an engine elsewhere, and this server has none: see REMIT_AUTHZ_URL.")
    return found
