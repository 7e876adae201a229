"""Datasets

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from warehouse_helpers import UUID, ids

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        *ids(),
        sa.Column("tenant_id", UUID, sa.ForeignKey("core.tenants.id"), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("format", sa.Enum("csv", "parquet", name="format", schema="core"), nullable=False),
        schema="core",
    )


def downgrade() -> None:
    pass
