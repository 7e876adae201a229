"""Columns of datasets

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from warehouse_helpers import UUID

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dataset_columns",
        sa.Column("dataset_id", UUID, sa.ForeignKey("core.datasets.id"), primary_key=True),
        sa.Column("position", sa.SmallInteger(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False, server_default="text"),
        schema="core",
    )


def downgrade() -> None:
    pass
