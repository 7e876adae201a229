"""Built text"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DO $$ BEGIN EXECUTE format('CREATE INDEX ON %I (age)', 'users'); END $$")


def downgrade() -> None:
    raise NotImplementedError
