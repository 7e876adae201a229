"""Repeatable"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS city text")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_users_city")
        op.execute("CREATE INDEX CONCURRENTLY ix_users_city ON users (city)")


def downgrade() -> None:
    raise NotImplementedError
