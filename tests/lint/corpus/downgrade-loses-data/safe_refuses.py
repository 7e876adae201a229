"""Refuses"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("city", sa.Text))


def downgrade() -> None:
    raise NotImplementedError("the cities would be lost")
