"""Every table of Remit, in one place.

The metadata mirrors what the migrations make, name by name: a test migrates a database and compares. Statements
are written as SQL beside the code that runs them; nothing here is used to query.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, UUID
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id: never wraps, and with a snapshot tells commit order."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type's name in SQL."""
        return "xid8"


def _id() -> Column[object]:
    return Column("id", UUID, primary_key=True)


def _tenant() -> Column[object]:
    return Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False)


def _at(name: str, *, nullable: bool = False) -> Column[object]:
    default = None if nullable else text("now()")
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=default)


def _creators(table: str) -> list[Column[object] | CheckConstraint | Index]:
    """Who made the row. No foreign key: the record outlives its subject."""
    return [
        Column("creator_user_id", UUID),
        Column("creator_service_account_id", UUID),
        Column("creator_agent_id", UUID),
        Column("authz_zedtoken", Text),
        CheckConstraint("num_nonnulls(creator_user_id, creator_service_account_id) <= 1", name="at_most_one_creator"),
        CheckConstraint(
            "creator_agent_id IS NULL OR num_nonnulls(creator_user_id, creator_service_account_id) = 0",
            name="agent_or_subject_creator",
        ),
        Index(f"ix_{table}_creator_user_id", "creator_user_id", postgresql_where=text("creator_user_id IS NOT NULL")),
        Index(
            f"ix_{table}_creator_service_account_id",
            "creator_service_account_id",
            postgresql_where=text("creator_service_account_id IS NOT NULL"),
        ),
    ]


tenants = Table(
    "tenants",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    _at("created_at"),
    _at("disabled_at", nullable=True),
    Column("authz_zedtoken", Text),  # of the newest delivered change of the tenant, its agents and its groups
    UniqueConstraint("name"),
)

# How the auth provider routes an account; one without a row has the server's default.
account_flags = Table(
    "account_flags",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("check_backend", Text, nullable=False),
    Column("dual_write", ARRAY(Text), nullable=False),
    _at("updated_at"),
    CheckConstraint("check_backend IN ('postgres', 'spicedb', 'http')", name="check_backend"),
)

subjects = Table(
    "subjects",
    metadata,
    _id(),
    _tenant(),
    Column("kind", Text, nullable=False),
    Column("issuer", Text, nullable=False, server_default=text("'remit'")),
    Column("external_id", Text, nullable=False),
    Column("display_name", Text),
    _at("created_at"),
    _at("disabled_at", nullable=True),
    CheckConstraint("kind IN ('user', 'service_account')", name="kind"),
    UniqueConstraint("tenant_id", "kind", "issuer", "external_id"),
)

# What an auth provider handed out for a subject, encrypted: it is passed back when something is told in his name.
provider_principals = Table(
    "provider_principals",
    metadata,
    Column("subject_id", UUID, ForeignKey("subjects.id"), primary_key=True),
    Column("principal", BYTEA, nullable=False),
    _at("updated_at"),
)

groups = Table(
    "groups",
    metadata,
    _id(),
    _tenant(),
    Column("name", Text, nullable=False),
    _at("created_at"),
    _at("disabled_at", nullable=True),
    UniqueConstraint("tenant_id", "name"),
)

agents = Table(
    "agents",
    metadata,
    _id(),
    _tenant(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("acp_type", Text, nullable=False),
    Column("acp_url", Text),
    Column("agent_input_type", Text),
    Column("registration_metadata", JSONB),
    _at("registered_at", nullable=True),
    _at("created_at"),
    _at("updated_at"),
    *_creators("agents"),
    CheckConstraint("status IN ('Ready', 'Failed', 'Unknown', 'Deleted', 'Unhealthy', 'BuildOnly')", name="status"),
    CheckConstraint("acp_type IN ('sync', 'async', 'agentic')", name="acp_type"),
    Index(
        "uq_agents_tenant_id_name",
        "tenant_id",
        "name",
        unique=True,
        postgresql_where=text("status <> 'Deleted'"),
    ),
    Index("ix_agents_tenant_id_id", "tenant_id", text("id DESC")),
    Index("ix_agents_name", "name", postgresql_where=text("status <> 'Deleted'")),
)

tasks = Table(
    "tasks",
    metadata,
    _id(),
    _tenant(),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("name", Text),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("params", JSONB),
    Column("task_metadata", JSONB),
    _at("created_at"),
    _at("updated_at"),
    _at("cleaned_at", nullable=True),
    *_creators("tasks"),
    Column("request_hash", BYTEA),  # of the request that made it, for a repeat that carries no idempotency key
    _at("repeated_at", nullable=True),  # when it was made, if a repeat made it
    CheckConstraint(
        "status IN ('RUNNING', 'INTERRUPTED', 'COMPLETED', 'FAILED', 'CANCELED', 'TERMINATED', 'TIMED_OUT', 'DELETED')",
        name="status",
    ),
    Index(
        "uq_tasks_tenant_id_name",
        "tenant_id",
        "name",
        unique=True,
        postgresql_where=text("status <> 'DELETED'"),
    ),
    Index("ix_tasks_tenant_id_id", "tenant_id", text("id DESC")),
    Index("ix_tasks_agent_id_id", "agent_id", text("id DESC")),
    Index("ix_tasks_request_hash", "request_hash", postgresql_where=text("repeated_at IS NOT NULL")),
)

task_turns = Table(
    "task_turns",
    metadata,
    Column("task_id", UUID, primary_key=True),
    Column("holder", UUID, nullable=False),
    _at("expires_at"),
)

messages = Table(
    "messages",
    metadata,
    _id(),
    _tenant(),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("content", JSONB, nullable=False),
    Column("streaming_status", Text),
    Column("interrupted", Boolean, nullable=False, server_default=text("false")),
    Column("author_subject_id", UUID),
    Column("author_agent_id", UUID),
    _at("created_at"),
    _at("updated_at"),
    CheckConstraint("streaming_status IN ('IN_PROGRESS', 'DONE')", name="streaming_status"),
    Index("ix_messages_task_id_created_at_id", "task_id", text("created_at DESC"), "id"),
)

states = Table(
    "states",
    metadata,
    _id(),
    _tenant(),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("state", JSONB, nullable=False),
    _at("created_at"),
    _at("updated_at"),
    UniqueConstraint("task_id", "agent_id"),
)

events = Table(
    "events",
    metadata,
    _id(),
    _tenant(),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("sequence_id", BigInteger, Identity(always=True), nullable=False),
    Column("content", JSONB),
    _at("created_at"),
    Index("ix_events_task_id_agent_id_sequence_id", "task_id", "agent_id", "sequence_id"),
)

agent_task_trackers = Table(
    "agent_task_trackers",
    metadata,
    _id(),
    _tenant(),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("status", Text),
    Column("status_reason", Text),
    Column("last_processed_event_id", UUID),
    _at("created_at"),
    _at("updated_at"),
    # The event's number beside its id: a cursor goes forward only, even when the event itself is gone.
    Column("last_processed_sequence_id", BigInteger),
    UniqueConstraint("task_id", "agent_id"),
)

spans = Table(
    "spans",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("id", Text, primary_key=True),  # the writer's choice, so it is unique in the tenant only
    Column("trace_id", Text, nullable=False),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE")),
    Column("parent_id", Text),
    Column("name", Text, nullable=False),
    Column("start_time", DateTime(timezone=True), nullable=False),
    _at("end_time", nullable=True),
    Column("input", JSONB),
    Column("output", JSONB),
    Column("data", JSONB),
    Column("author_subject_id", UUID),
    Column("author_agent_id", UUID),
    _at("created_at"),
    CheckConstraint("num_nonnulls(author_subject_id, author_agent_id) = 1", name="one_author"),
    Index(
        "ix_spans_task_id_start_time_id",
        "task_id",
        text("start_time DESC"),
        text("id DESC"),
        postgresql_where=text("task_id IS NOT NULL"),
    ),
    Index(
        "ix_spans_tenant_id_trace_id_start_time_id", "tenant_id", "trace_id", text("start_time DESC"), text("id DESC")
    ),
    Index("ix_spans_created_at", "created_at", postgresql_using="brin"),
)


def _task_key() -> Column[object]:
    return Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)


def _key(name: str) -> Column[object]:
    """A name that LangGraph gives. Compared as bytes: its ids grow in that order, whatever the database's language."""
    return Column(name, Text(collation="C"), primary_key=True)


checkpoints = Table(
    "checkpoints",
    metadata,
    _tenant(),
    _task_key(),
    _key("checkpoint_ns"),
    _key("checkpoint_id"),
    Column("parent_checkpoint_id", Text),
    Column("checkpoint", JSONB, nullable=False),
    Column("metadata", JSONB, nullable=False),
    _at("created_at"),
)

# A channel's value in one version: several checkpoints share it.
checkpoint_blobs = Table(
    "checkpoint_blobs",
    metadata,
    _tenant(),
    _task_key(),
    _key("checkpoint_ns"),
    _key("channel"),
    _key("version"),
    Column("type", Text, nullable=False),
    Column("blob", BYTEA),
)

# `write_task_id` is LangGraph's own: the step that wrote, not a task of the server.
checkpoint_writes = Table(
    "checkpoint_writes",
    metadata,
    _tenant(),
    _task_key(),
    _key("checkpoint_ns"),
    _key("checkpoint_id"),
    _key("write_task_id"),
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("type", Text),
    Column("blob", BYTEA, nullable=False),
    Column("task_path", Text, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    _tenant(),
    Column("subject_id", UUID, ForeignKey("subjects.id")),
    Column("agent_id", UUID, ForeignKey("agents.id", ondelete="CASCADE")),
    Column("name", Text),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", BYTEA, nullable=False),
    _at("created_at"),
    _at("last_used_at", nullable=True),
    _at("expires_at", nullable=True),
    _at("revoked_at", nullable=True),
    CheckConstraint("num_nonnulls(subject_id, agent_id) = 1", name="one_holder"),
    UniqueConstraint("secret_hash"),
    Index("ix_api_keys_subject_id", "subject_id", postgresql_where=text("subject_id IS NOT NULL")),
    Index("ix_api_keys_agent_id", "agent_id", postgresql_where=text("agent_id IS NOT NULL")),
    Index("ix_api_keys_tenant_id_id", "tenant_id", text("id DESC")),
)

# Requests with an Idempotency-Key. The key is kept as a hash, the answer encrypted with a key made from it.
idempotent_requests = Table(
    "idempotent_requests",
    metadata,
    Column("key_hash", BYTEA, primary_key=True),
    Column("tenant_id", UUID, nullable=False),
    Column("request_hash", BYTEA, nullable=False),
    Column("status", Integer),
    Column("media_type", Text),
    Column("answer", BYTEA),
    Column("questions", JSONB),
    Column("leased_until", DateTime(timezone=True), nullable=False),
    _at("created_at"),
    Index("ix_idempotent_requests_created_at", "created_at"),
)

# The keys of agents, as the contract has them: a resource of the graph. Those that are shown are hashed, those that
# sign are encrypted, since a signature is checked with the secret itself.
agent_api_keys = Table(
    "agent_api_keys",
    metadata,
    _id(),
    _tenant(),
    Column("agent_id", UUID, ForeignKey("agents.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("api_key_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("secret_hash", BYTEA),
    Column("secret_encrypted", BYTEA),
    _at("created_at"),
    *_creators("agent_api_keys"),
    CheckConstraint("api_key_type IN ('internal', 'external', 'github', 'slack')", name="api_key_type"),
    CheckConstraint("status IN ('pending', 'active')", name="status"),
    CheckConstraint(
        "(api_key_type IN ('internal', 'external')) = (secret_hash IS NOT NULL) "
        "AND num_nonnulls(secret_hash, secret_encrypted) = 1",
        name="one_secret",
    ),
    UniqueConstraint("agent_id", "api_key_type", "name"),
    Index("ix_agent_api_keys_tenant_id_id", "tenant_id", text("id DESC")),
    Index("ix_agent_api_keys_pending", "created_at", postgresql_where=text("status = 'pending'")),
    Index(
        "uq_agent_api_keys_internal_secret_hash",
        "secret_hash",
        unique=True,
        postgresql_where=text("api_key_type = 'internal'"),
    ),
)

# Codes of types and relations are given once and never used again: rows of `relationships` hold them for ever.
authz_types = Table(
    "authz_types",
    metadata,
    Column("code", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("name"),
)

authz_relations = Table(
    "authz_relations",
    metadata,
    Column("code", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    CheckConstraint("code > 0", name="code"),  # 0 is the ellipsis: the subject itself
    UniqueConstraint("name"),
)

authz_schemas = Table(
    "authz_schemas",
    metadata,
    Column("version", Integer, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("sha256", BYTEA, nullable=False),
    Column("applied_by", Text, nullable=False),
    _at("applied_at"),
)

# Ids that are not canonical UUIDs are stored as a UUID made from type and text; this reads them back.
authz_ids = Table(
    "authz_ids",
    metadata,
    Column("type", SmallInteger, primary_key=True),
    Column("id", UUID, primary_key=True),
    Column("text", Text, nullable=False),
)

relationships = Table(
    "relationships",
    metadata,
    Column("resource_type", SmallInteger, primary_key=True),
    Column("resource_id", UUID, primary_key=True),
    Column("relation", SmallInteger, primary_key=True),
    Column("subject_type", SmallInteger, primary_key=True),
    Column("subject_id", UUID, primary_key=True),
    Column("subject_relation", SmallInteger, primary_key=True, server_default=text("0")),
    Column("expires_at", DateTime(timezone=True)),
    Column("written_xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Index(
        "ix_relationships_by_subject",
        "subject_type",
        "subject_id",
        "subject_relation",
        "resource_type",
        "relation",
        text("resource_id DESC"),
        postgresql_include=["expires_at"],
    ),
    Index("ix_relationships_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    # Index-only scans need pages marked all-visible, so vacuum comes early, after inserts too.
    postgresql_with={
        "autovacuum_vacuum_scale_factor": 0.01,
        "autovacuum_vacuum_insert_scale_factor": 0.01,
    },
)

relationship_history = Table(
    "relationship_history",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("resource_type", SmallInteger, nullable=False),
    Column("resource_id", UUID, nullable=False),
    Column("relation", SmallInteger, nullable=False),
    Column("subject_type", SmallInteger, nullable=False),
    Column("subject_id", UUID, nullable=False),
    Column("subject_relation", SmallInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("written_xid", Xid8, nullable=False),
    Column("removed_xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    _at("removed_at"),
    Column("actor", Text),
    Column("request_id", Text),
    Index("ix_relationship_history_resource", "resource_type", "resource_id"),
    Index("ix_relationship_history_subject", "subject_type", "subject_id"),
)

# Who decides, per tenant and type; a type without a row is in `enforce`. A null mode: adopted and never set.
authz_modes = Table(
    "authz_modes",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("resource_type", Text, primary_key=True),
    Column("mode", Text),
    _at("enforced_at", nullable=True),
    _at("registering_since", nullable=True),
    _at("changed_at"),
    Column("changed_by", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("mode IN ('off', 'write', 'shadow', 'enforce')", name="mode"),
    Index("ix_authz_modes_version", "version"),
)

# Finished comparisons of rows, relationships and projection, whole types of a tenant only.
authz_reconciliations = Table(
    "authz_reconciliations",
    metadata,
    _id(),
    _tenant(),
    Column("resource_type", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    _at("finished_at"),
    Column("clean", Boolean, nullable=False),
    Column("drift", JSONB),
    Index("ix_authz_reconciliations_tenant_id_resource_type", "tenant_id", "resource_type", text("started_at DESC")),
)

# How far a reconciliation is, so that one that was killed goes on.
authz_reconciling = Table(
    "authz_reconciling",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("resource_type", Text, primary_key=True),
    Column("apply", Boolean, primary_key=True),
    Column("cursor", UUID, nullable=False),
    Column("report", JSONB, nullable=False),
    _at("started_at"),
)

# What `shadow` found: how often each pair of answers came, and some of the differences.
authz_shadow_counts = Table(
    "authz_shadow_counts",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("resource_type", Text, primary_key=True),
    Column("permission", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("class", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    _at("first_at"),
    _at("last_at"),
    CheckConstraint("outcome IN ('both_allow', 'both_deny', 'would_deny', 'would_allow', 'unknown')", name="outcome"),
)

authz_shadow_samples = Table(
    "authz_shadow_samples",
    metadata,
    _id(),
    _tenant(),
    Column("resource_type", Text, nullable=False),
    Column("resource_id", UUID, nullable=False),
    Column("permission", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("subject_id", UUID, nullable=False),
    Column("explanation", Text, nullable=False),
    _at("at"),
    Index("ix_authz_shadow_samples_tenant_id_resource_type_id", "tenant_id", "resource_type", text("id DESC")),
)

# Deliveries owed to an engine that lives elsewhere. The embedded engine owes none, so its table stays empty.
# Deliveries owed to an engine that lives elsewhere: which resource's relationships a transaction changed. The embedded
# engine owes none, so its table stays empty.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id")),
    Column("resource_type", Text, nullable=False),
    Column("resource_id", UUID, nullable=False),
    Column("version", BigInteger, nullable=False),  # the transaction that changed them
    Column("revocation", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    _at("created_at"),
    _at("leased_until", nullable=True),
    _at("dead_at", nullable=True),
    # The agent of the task has not been called: whoever delivers calls it.
    Column("forward", Boolean, nullable=False, server_default=text("false")),
    Index("ix_outbox_resource", "resource_type", "resource_id", "version"),
    Index("ix_outbox_tenant_id_resource_type", "tenant_id", "resource_type"),
    Index("ix_outbox_due", text("revocation DESC"), "id", postgresql_where=text("dead_at IS NULL")),
)

# What an engine elsewhere holds of each resource, as far as Remit knows: the version that was delivered last, and who
# delivers now. The fence is the version that the holder of the lease writes.
projections = Table(
    "projections",
    metadata,
    Column("resource_type", Text, primary_key=True),
    Column("resource_id", UUID, primary_key=True),
    Column("fence", BigInteger, nullable=False, server_default=text("1")),
    Column("delivered_version", BigInteger),
    _at("leased_until", nullable=True),
    _at("retry_at", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
)

# The relationships that were delivered last; what differs from `relationships` is pending.
projected_relationships = Table(
    "projected_relationships",
    metadata,
    Column("resource_type", SmallInteger, primary_key=True),
    Column("resource_id", UUID, primary_key=True),
    Column("relation", SmallInteger, primary_key=True),
    Column("subject_type", SmallInteger, primary_key=True),
    Column("subject_id", UUID, primary_key=True),
    Column("subject_relation", SmallInteger, primary_key=True, server_default=text("0")),
    Column("expires_at", DateTime(timezone=True)),
)

# Live updates of a task, kept an hour. Unlogged: after a crash of the database a reader starts at the tail again.
stream_entries = Table(
    "stream_entries",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("task_id", UUID, nullable=False),
    Column("data", Text, nullable=False),
    _at("created_at"),
    Index("ix_stream_entries_task_id_seq", "task_id", "seq"),
    Index("ix_stream_entries_created_at", "created_at"),
    prefixes=["UNLOGGED"],
)

audit = Table(
    "audit",
    metadata,
    _id(),
    Column("tenant_id", UUID),  # no foreign key: the record outlives the tenant
    _at("at"),
    Column("actor_type", Text, nullable=False),
    Column("actor_id", UUID),
    Column("action", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("resource_type", Text),
    Column("resource_id", Text),
    Column("request_id", Text),
    Column("detail", JSONB),
    Index("ix_audit_tenant_id_id", "tenant_id", text("id DESC")),
)

# One row: the oldest revision whose code works with the schema.
schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("only_row", Boolean, primary_key=True, server_default=text("true")),
    Column("compatible_since", Text, nullable=False),
    CheckConstraint("only_row", name="only_row"),
)
