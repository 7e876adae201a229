"""Order lines

Revision ID: 4ccc547735ab
Revises: 895ab080e113
Create Date: 2020-06-06 10:05:00
"""

import sqlalchemy as sa
from alembic import op

revision = "4ccc547735ab"
down_revision = "895ab080e113"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"]),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"]),
        sa.PrimaryKeyConstraint("order_id", "product_id"),
    )


def downgrade():
    pass
