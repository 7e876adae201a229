"""Index of queued jobs

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("CREATE INDEX ix_jobs_queued ON ops.jobs (created) WHERE state = 'queued'")


def downgrade() -> None:
    pass
