"""Shared 1"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("LOCK TABLE users IN SHARE MODE")
    op.execute("LOCK TABLE orders IN SHARE MODE")


def downgrade() -> None:
    pass
