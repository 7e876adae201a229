"""What is kept of requests and of the schema itself."""

from sqlalchemy import Boolean, CheckConstraint, Column, DateTime, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, UUID

from remit.db.tables.columns import at, metadata, own_id

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
    at("created_at"),
    Index("ix_idempotent_requests_created_at", "created_at"),
)

audit = Table(
    "audit",
    metadata,
    own_id(),
    Column("tenant_id", UUID),  # no foreign key: the record outlives the tenant
    at("at"),
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
