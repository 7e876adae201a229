"""Old alerts

Revision ID: 0060
Revises: 0059
"""

from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ops.alerts DISABLE TRIGGER USER")
    op.execute("DELETE FROM ops.alerts WHERE id = '00000000-0000-0000-0000-000000000000'")
    op.execute("ALTER TABLE ops.alerts ENABLE TRIGGER USER")


def downgrade() -> None:
    pass
