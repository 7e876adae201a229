"""Rename placed_at

Revision ID: 013dc89e876c
Revises: d6edf6041214
Create Date: 2021-01-25 10:24:00
"""

from alembic import op

revision = "013dc89e876c"
down_revision = "d6edf6041214"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column("orders", "placed_at", new_column_name="ordered_at")


def downgrade():
    op.alter_column("orders", "ordered_at", new_column_name="placed_at")
