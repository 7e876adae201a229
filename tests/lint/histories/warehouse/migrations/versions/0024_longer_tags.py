"""Longer tags

Revision ID: 0024
Revises: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE core.datasets ALTER COLUMN tags TYPE varchar(80)[]")


def downgrade() -> None:
    pass
