"""Truncate metrics

Revision ID: 0035
Revises: 0034
"""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("TRUNCATE ops.metrics RESTART IDENTITY")


def downgrade() -> None:
    pass
