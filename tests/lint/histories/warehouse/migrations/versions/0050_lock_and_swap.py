"""Lock and swap

Revision ID: 0050
Revises: 0049
"""

from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("LOCK TABLE ops.metrics IN ACCESS EXCLUSIVE MODE")
    op.execute("ALTER TABLE ops.metrics RENAME TO metrics_old")
    op.execute("CREATE TABLE ops.metrics (LIKE ops.metrics_old INCLUDING ALL)")


def downgrade() -> None:
    pass
