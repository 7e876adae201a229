"""Tasks, what is said and done in them, and their live updates."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, UUID

from remit.db.tables.columns import at, creators, metadata, own_id, tenant

tasks = Table(
    "tasks",
    metadata,
    own_id(),
    tenant(),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("name", Text),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("params", JSONB),
    Column("task_metadata", JSONB),
    at("created_at"),
    at("updated_at"),
    at("cleaned_at", nullable=True),
    *creators("tasks"),
    Column("request_hash", BYTEA),  # of the request that made it, for a repeat that carries no idempotency key
    at("repeated_at", nullable=True),  # when it was made, if a repeat made it
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
    at("expires_at"),
)

messages = Table(
    "messages",
    metadata,
    own_id(),
    tenant(),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("content", JSONB, nullable=False),
    Column("streaming_status", Text),
    Column("interrupted", Boolean, nullable=False, server_default=text("false")),
    Column("author_subject_id", UUID),
    Column("author_agent_id", UUID),
    at("created_at"),
    at("updated_at"),
    CheckConstraint("streaming_status IN ('IN_PROGRESS', 'DONE')", name="streaming_status"),
    Index("ix_messages_task_id_created_at_id", "task_id", text("created_at DESC"), "id"),
)

states = Table(
    "states",
    metadata,
    own_id(),
    tenant(),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("state", JSONB, nullable=False),
    at("created_at"),
    at("updated_at"),
    UniqueConstraint("task_id", "agent_id"),
)

events = Table(
    "events",
    metadata,
    own_id(),
    tenant(),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("sequence_id", BigInteger, Identity(always=True), nullable=False),
    Column("content", JSONB),
    at("created_at"),
    Index("ix_events_task_id_agent_id_sequence_id", "task_id", "agent_id", "sequence_id"),
)

agent_task_trackers = Table(
    "agent_task_trackers",
    metadata,
    own_id(),
    tenant(),
    Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("status", Text),
    Column("status_reason", Text),
    Column("last_processed_event_id", UUID),
    at("created_at"),
    at("updated_at"),
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
    at("end_time", nullable=True),
    Column("input", JSONB),
    Column("output", JSONB),
    Column("data", JSONB),
    Column("author_subject_id", UUID),
    Column("author_agent_id", UUID),
    at("created_at"),
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

# Live updates of a task, kept an hour. Unlogged: after a crash of the database a reader starts at the tail again.
stream_entries = Table(
    "stream_entries",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("task_id", UUID, nullable=False),
    Column("data", Text, nullable=False),
    at("created_at"),
    Index("ix_stream_entries_task_id_seq", "task_id", "seq"),
    Index("ix_stream_entries_created_at", "created_at"),
    prefixes=["UNLOGGED"],
)
