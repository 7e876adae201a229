"""Tenants

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from warehouse_helpers import ids

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("tenants", *ids(), sa.Column("name", sa.Text(), nullable=False), schema="core")
    op.create_index("ix_core_tenants_name", "tenants", ["name"], schema="core", unique=True)


def downgrade() -> None:
    op.drop_table("tenants", schema="core")
