from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_logs_id ON ONLY logs (id)")


def downgrade() -> None:
    pass
