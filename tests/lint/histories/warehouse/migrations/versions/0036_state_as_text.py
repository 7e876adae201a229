"""State as text

Revision ID: 0036
Revises: 0035
"""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE ops.job_state ADD VALUE IF NOT EXISTS 'lost' BEFORE 'done'")


def downgrade() -> None:
    pass
