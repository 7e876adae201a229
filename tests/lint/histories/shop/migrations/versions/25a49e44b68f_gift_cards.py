"""Gift cards

Revision ID: 25a49e44b68f
Revises: e35343bf531d
Create Date: 2023-02-23 10:49:00
"""

import sqlalchemy as sa
from alembic import op

revision = "25a49e44b68f"
down_revision = "e35343bf531d"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "gift_cards",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("balance", sa.Numeric(10, 2), nullable=False),
    )


def downgrade():
    pass
