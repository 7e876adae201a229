"""Kept until

Revision ID: 0058
Revises: 0057
"""

from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE core.datasets ADD COLUMN kept_until date DEFAULT (CURRENT_DATE + 30)")


def downgrade() -> None:
    pass
