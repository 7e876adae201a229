from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER INDEX ix_logs_id ATTACH PARTITION ix_logs_1_id")


def downgrade() -> None:
    pass
