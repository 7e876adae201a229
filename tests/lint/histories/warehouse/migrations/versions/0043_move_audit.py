"""Move audit

Revision ID: 0043
Revises: 0042
"""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS attic")
    op.execute("ALTER TABLE core.lineage SET SCHEMA attic")


def downgrade() -> None:
    pass
