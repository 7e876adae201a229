"""Who there is: tenants, subjects, groups, their keys, and how an auth provider knows them."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, UUID

from remit.db.tables.columns import at, metadata, own_id, tenant

tenants = Table(
    "tenants",
    metadata,
    own_id(),
    Column("name", Text, nullable=False),
    at("created_at"),
    at("disabled_at", nullable=True),
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
    at("updated_at"),
    CheckConstraint("check_backend IN ('postgres', 'spicedb', 'http')", name="check_backend"),
)

subjects = Table(
    "subjects",
    metadata,
    own_id(),
    tenant(),
    Column("kind", Text, nullable=False),
    Column("issuer", Text, nullable=False, server_default=text("'remit'")),
    Column("external_id", Text, nullable=False),
    Column("display_name", Text),
    at("created_at"),
    at("disabled_at", nullable=True),
    CheckConstraint("kind IN ('user', 'service_account')", name="kind"),
    UniqueConstraint("tenant_id", "kind", "issuer", "external_id"),
)

# What an auth provider handed out for a subject, encrypted: it is passed back when something is told in his name.
provider_principals = Table(
    "provider_principals",
    metadata,
    Column("subject_id", UUID, ForeignKey("subjects.id"), primary_key=True),
    Column("principal", BYTEA, nullable=False),
    at("updated_at"),
)

groups = Table(
    "groups",
    metadata,
    own_id(),
    tenant(),
    Column("name", Text, nullable=False),
    at("created_at"),
    at("disabled_at", nullable=True),
    UniqueConstraint("tenant_id", "name"),
)

api_keys = Table(
    "api_keys",
    metadata,
    own_id(),
    tenant(),
    Column("subject_id", UUID, ForeignKey("subjects.id")),
    Column("agent_id", UUID, ForeignKey("agents.id", ondelete="CASCADE")),
    Column("name", Text),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", BYTEA, nullable=False),
    at("created_at"),
    at("last_used_at", nullable=True),
    at("expires_at", nullable=True),
    at("revoked_at", nullable=True),
    CheckConstraint("num_nonnulls(subject_id, agent_id) = 1", name="one_holder"),
    UniqueConstraint("secret_hash"),
    Index("ix_api_keys_subject_id", "subject_id", postgresql_where=text("subject_id IS NOT NULL")),
    Index("ix_api_keys_agent_id", "agent_id", postgresql_where=text("agent_id IS NOT NULL")),
    Index("ix_api_keys_tenant_id_id", "tenant_id", text("id DESC")),
)
