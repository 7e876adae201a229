"""Add column with key"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("payer_id", sa.BigInteger, sa.ForeignKey("users.id"), nullable=True))


def downgrade() -> None:
    raise NotImplementedError
