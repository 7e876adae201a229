"""No reason"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET name = email")  # remit: allow backfill-in-migration


def downgrade() -> None:
    pass
