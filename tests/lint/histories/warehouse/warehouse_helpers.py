"""What the revisions share."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

SCHEMAS = ("core", "ops", "audit")
UUID = postgresql.UUID(as_uuid=True)


def ids():
    """The columns that every table begins with."""
    return [
        sa.Column("id", UUID, server_default=sa.text("uuid_generate_v4()"), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    ]


def add_owner(table, schema="core"):
    """Add a column for the user who owns a row."""
    op.add_column(table, sa.Column("owner_id", UUID, nullable=True), schema=schema)
    op.create_foreign_key(
        f"fk_{table}_owner",
        table,
        "users",
        ["owner_id"],
        ["id"],
        source_schema=schema,
        referent_schema="core",
        postgresql_not_valid=True,
    )
