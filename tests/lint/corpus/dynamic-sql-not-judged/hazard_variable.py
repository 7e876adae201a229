"""Variable"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DO $$ DECLARE command text := 'UPDATE users SET age = 0'; BEGIN EXECUTE command; END $$")


def downgrade() -> None:
    raise NotImplementedError
