"""Used"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # remit: allow backfill-in-migration because the table has three rows
    op.execute("UPDATE users SET name = email")


def downgrade() -> None:
    pass
