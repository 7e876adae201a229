from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_users_email")
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY uq_users_email ON users (email)")


def downgrade() -> None:
    pass
