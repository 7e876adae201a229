"""Wishlists

Revision ID: 3ff96e43ea4d
Revises: ef1786a3568a
Create Date: 2023-12-21 10:47:00
"""

import sqlalchemy as sa
from alembic import op

revision = "3ff96e43ea4d"
down_revision = "ef1786a3568a"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "wishlists",
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("product_id", sa.Integer(), sa.ForeignKey("products.id"), primary_key=True),
        sa.Column("note", sa.String(200), comment='shown to friends: "…"'),
    )


def downgrade():
    pass
