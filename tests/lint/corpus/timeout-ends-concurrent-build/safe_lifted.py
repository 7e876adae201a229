"""Lifted"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET statement_timeout = '30s'")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_users_age")
        op.execute("CREATE INDEX CONCURRENTLY ix_users_age ON users (age)")


def downgrade() -> None:
    raise NotImplementedError
