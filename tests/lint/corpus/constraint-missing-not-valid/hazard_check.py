"""Check"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint("ck_users_age", "users", "age >= 0")


def downgrade() -> None:
    raise NotImplementedError
