"""Drop index"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_users_name", "users")


def downgrade() -> None:
    raise NotImplementedError
