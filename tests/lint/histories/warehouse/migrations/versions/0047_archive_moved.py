"""Archive moved

Revision ID: 0047
Revises: 0046
"""

from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("WITH moved AS (DELETE FROM ops.jobs WHERE state = 'done' RETURNING *) SELECT count(*) FROM moved")


def downgrade() -> None:
    pass
