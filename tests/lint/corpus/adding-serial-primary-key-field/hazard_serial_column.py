"""Serial column"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE events ADD COLUMN number bigserial PRIMARY KEY")


def downgrade() -> None:
    raise NotImplementedError
