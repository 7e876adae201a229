"""Who decides in a tenant, what shadow and reconciliations found, and what an engine elsewhere was told."""

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
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from remit.db.tables.columns import at, metadata, own_id, relationship, tenant

# Who decides, per tenant and type; a type without a row is in `enforce`. A null mode: adopted and never set.
authz_modes = Table(
    "authz_modes",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("resource_type", Text, primary_key=True),
    Column("mode", Text),
    at("enforced_at", nullable=True),
    at("registering_since", nullable=True),
    at("changed_at"),
    Column("changed_by", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("mode IN ('off', 'write', 'shadow', 'enforce')", name="mode"),
    Index("ix_authz_modes_version", "version"),
)

# Finished comparisons of rows, relationships and projection, whole types of a tenant only.
authz_reconciliations = Table(
    "authz_reconciliations",
    metadata,
    own_id(),
    tenant(),
    Column("resource_type", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    at("finished_at"),
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
    at("started_at"),
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
    at("first_at"),
    at("last_at"),
    CheckConstraint("outcome IN ('both_allow', 'both_deny', 'would_deny', 'would_allow', 'unknown')", name="outcome"),
)

authz_shadow_samples = Table(
    "authz_shadow_samples",
    metadata,
    own_id(),
    tenant(),
    Column("resource_type", Text, nullable=False),
    Column("resource_id", UUID, nullable=False),
    Column("permission", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("subject_id", UUID, nullable=False),
    Column("explanation", Text, nullable=False),
    at("at"),
    Index("ix_authz_shadow_samples_tenant_id_resource_type_id", "tenant_id", "resource_type", text("id DESC")),
)

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
    at("created_at"),
    at("leased_until", nullable=True),
    at("dead_at", nullable=True),
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
    at("leased_until", nullable=True),
    at("retry_at", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
)

# The relationships that were delivered last; what differs from `relationships` is pending.
projected_relationships = Table(
    "projected_relationships",
    metadata,
    *relationship(key=True),
    Column("expires_at", DateTime(timezone=True)),
)
