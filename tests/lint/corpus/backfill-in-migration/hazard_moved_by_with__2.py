"""Moved by with 2"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "WITH moved AS (DELETE FROM orders WHERE total > 5 RETURNING *) INSERT INTO old_orders SELECT * FROM moved"
    )


def downgrade() -> None:
    raise NotImplementedError
