"""Remove old jobs

Revision ID: 0034
Revises: 0033
"""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM ops.jobs WHERE created < now() - interval '1 year'")


def downgrade() -> None:
    pass
