"""What LangGraph keeps of a task."""

from sqlalchemy import Column, ForeignKey, Integer, Table, Text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, UUID

from remit.db.tables.columns import at, metadata, tenant


def _task_key() -> Column[object]:
    return Column("task_id", UUID, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)


def _key(name: str) -> Column[object]:
    """A name that LangGraph gives. Compared as bytes: its ids grow in that order, whatever the database's language."""
    return Column(name, Text(collation="C"), primary_key=True)


checkpoints = Table(
    "checkpoints",
    metadata,
    tenant(),
    _task_key(),
    _key("checkpoint_ns"),
    _key("checkpoint_id"),
    Column("parent_checkpoint_id", Text),
    Column("checkpoint", JSONB, nullable=False),
    Column("metadata", JSONB, nullable=False),
    at("created_at"),
)

# A channel's value in one version: several checkpoints share it.
checkpoint_blobs = Table(
    "checkpoint_blobs",
    metadata,
    tenant(),
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
    tenant(),
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
