"""Proven  3"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "age", nullable=False)
    op.drop_constraint("ck_users_age", "users")


def downgrade() -> None:
    op.alter_column("users", "age", nullable=True)
