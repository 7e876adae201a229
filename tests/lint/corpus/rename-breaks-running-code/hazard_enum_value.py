"""Enum value"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE mood RENAME VALUE 'calm' TO 'quiet'")


def downgrade() -> None:
    raise NotImplementedError
