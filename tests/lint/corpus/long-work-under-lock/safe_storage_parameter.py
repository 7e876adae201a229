"""Storage parameter"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users SET (fillfactor = 90)")


def downgrade() -> None:
    raise NotImplementedError
