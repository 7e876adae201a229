"""The relationship graph: its schema, its relationships and what became of them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import BYTEA, UUID

from remit.db.tables.columns import Xid8, at, metadata, relationship

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
    at("applied_at"),
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
    *relationship(key=True),
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
    *relationship(key=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("written_xid", Xid8, nullable=False),
    Column("removed_xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    at("removed_at"),
    Column("actor", Text),
    Column("request_id", Text),
    Index("ix_relationship_history_resource", "resource_type", "resource_id"),
    Index("ix_relationship_history_subject", "subject_type", "subject_id"),
)
