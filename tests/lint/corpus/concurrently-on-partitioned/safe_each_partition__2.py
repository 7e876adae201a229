from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_logs_1_id")
        op.execute("CREATE INDEX CONCURRENTLY ix_logs_1_id ON logs_1 (id)")


def downgrade() -> None:
    pass
