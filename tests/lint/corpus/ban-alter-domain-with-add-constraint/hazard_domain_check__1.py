"""Domain check"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN amount positive")


def downgrade() -> None:
    raise NotImplementedError
