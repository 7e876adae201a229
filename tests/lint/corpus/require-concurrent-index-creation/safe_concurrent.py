"""Concurrent"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_users_age")
        op.create_index("ix_users_age", "users", ["age"], postgresql_concurrently=True)


def downgrade() -> None:
    raise NotImplementedError
