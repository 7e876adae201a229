"""Another schema"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA core")
    op.execute("ALTER TABLE users SET SCHEMA core")


def downgrade() -> None:
    raise NotImplementedError
