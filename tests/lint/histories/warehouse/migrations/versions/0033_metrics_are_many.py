"""Metrics are many

Revision ID: 0033
Revises: 0032
"""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ops.metrics ALTER COLUMN id TYPE bigint")


def downgrade() -> None:
    pass
