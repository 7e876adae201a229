"""Domain check"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER DOMAIN positive ADD CONSTRAINT ck CHECK (VALUE > 0)")


def downgrade() -> None:
    raise NotImplementedError
