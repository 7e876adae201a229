"""Copies

Revision ID: 0046
Revises: 0045
"""

from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE ops.jobs_archive AS SELECT * FROM ops.jobs WHERE state = 'done'")


def downgrade() -> None:
    pass
