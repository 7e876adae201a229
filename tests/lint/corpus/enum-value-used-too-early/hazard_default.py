"""Default"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE mood ADD VALUE 'glad'")
    op.execute("ALTER TABLE users ALTER COLUMN mood SET DEFAULT 'glad'")


def downgrade() -> None:
    raise NotImplementedError
