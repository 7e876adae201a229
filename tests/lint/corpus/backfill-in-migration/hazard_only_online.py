"""Only online"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if not op.get_context().as_sql:
        op.execute("UPDATE users SET age = 0")


def downgrade() -> None:
    raise NotImplementedError
