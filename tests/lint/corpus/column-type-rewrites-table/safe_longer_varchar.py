"""Longer varchar"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "email", type_=sa.String(200))


def downgrade() -> None:
    raise NotImplementedError
