"""Timestamps everywhere

Revision ID: 7a135be2a93e
Revises: 332ab286af21
Create Date: 2021-07-19 10:18:00
"""

import sqlalchemy as sa
from alembic import op

revision = "7a135be2a93e"
down_revision = "332ab286af21"
branch_labels = None
depends_on = None


def upgrade():
    for table in ("products", "orders", "addresses"):
        op.add_column(
            table, sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
        )


def downgrade():
    for table in ("addresses", "orders", "products"):
        op.drop_column(table, "updated_at")
