"""Index"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER INDEX ix_users_name RENAME TO ix_users_by_name")


def downgrade() -> None:
    raise NotImplementedError
