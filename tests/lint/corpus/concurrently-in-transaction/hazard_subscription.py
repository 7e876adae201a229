"""Subscription"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SUBSCRIPTION changes CONNECTION 'host=elsewhere' PUBLICATION changes")


def downgrade() -> None:
    raise NotImplementedError
