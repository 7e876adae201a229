"""Agents and their keys, both resources of the graph."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, UUID

from remit.db.tables.columns import at, creators, metadata, own_id, tenant

agents = Table(
    "agents",
    metadata,
    own_id(),
    tenant(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("acp_type", Text, nullable=False),
    Column("acp_url", Text),
    Column("agent_input_type", Text),
    Column("registration_metadata", JSONB),
    at("registered_at", nullable=True),
    at("created_at"),
    at("updated_at"),
    *creators("agents"),
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

# The keys of agents, as the contract has them: a resource of the graph. Those that are shown are hashed, those that
# sign are encrypted, since a signature is checked with the secret itself.
agent_api_keys = Table(
    "agent_api_keys",
    metadata,
    own_id(),
    tenant(),
    Column("agent_id", UUID, ForeignKey("agents.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("api_key_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("secret_hash", BYTEA),
    Column("secret_encrypted", BYTEA),
    at("created_at"),
    *creators("agent_api_keys"),
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
