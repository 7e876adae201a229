"""New domain"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE DOMAIN negative AS integer")


def downgrade() -> None:
    op.execute("DROP DOMAIN negative")
