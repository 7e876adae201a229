"""Seen

Revision ID: 0059
Revises: 0058
"""

from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE core.users ADD COLUMN seen timestamptz DEFAULT clock_timestamp()")


def downgrade() -> None:
    pass
