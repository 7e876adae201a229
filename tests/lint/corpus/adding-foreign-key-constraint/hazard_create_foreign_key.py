"""Create foreign key"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_foreign_key("fk_orders_user_id", "orders", "users", ["user_id"], ["id"])


def downgrade() -> None:
    raise NotImplementedError
