"""Inline on new column"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN payer_id bigint REFERENCES users (id)")


def downgrade() -> None:
    raise NotImplementedError
