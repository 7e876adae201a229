"""Failed jobs

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE ops.job_state ADD VALUE 'failed'")


def downgrade() -> None:
    pass
