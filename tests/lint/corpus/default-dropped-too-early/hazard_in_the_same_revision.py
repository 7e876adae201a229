"""In the same revision"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("plan", sa.String(20), nullable=False, server_default="free"))
    op.alter_column("users", "plan", server_default=None)


def downgrade() -> None:
    op.drop_column("users", "plan")
