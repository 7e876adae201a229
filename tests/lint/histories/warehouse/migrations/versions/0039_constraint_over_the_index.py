"""Constraint over the index

Revision ID: 0039
Revises: 0038
"""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ops.jobs ADD CONSTRAINT uq_jobs_key UNIQUE USING INDEX uq_jobs_key")


def downgrade() -> None:
    pass
