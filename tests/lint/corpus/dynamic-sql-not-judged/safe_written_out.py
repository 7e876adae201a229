"""Written out"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DO $$ BEGIN EXECUTE format('COMMENT ON TABLE %I IS %L', 'users', 'People'); END $$")


def downgrade() -> None:
    pass
