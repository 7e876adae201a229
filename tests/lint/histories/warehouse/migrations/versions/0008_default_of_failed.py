"""Default of failed

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ops.jobs ADD COLUMN error text")
    op.execute("ALTER TABLE ops.jobs ADD COLUMN attempts integer NOT NULL DEFAULT 0")


def downgrade() -> None:
    pass
