"""Publication

Revision ID: 0049
Revises: 0048
"""

from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE PUBLICATION jobs_out FOR TABLE ops.jobs")
    op.execute("ALTER TABLE ops.jobs REPLICA IDENTITY FULL")


def downgrade() -> None:
    pass
