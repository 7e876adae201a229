"""Coupon of an order

Revision ID: 298220816101
Revises: ea7ecc02cd9d
Create Date: 2021-05-17 10:16:00
"""

import sqlalchemy as sa
from alembic import op

revision = "298220816101"
down_revision = "ea7ecc02cd9d"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("orders", sa.Column("coupon_code", sa.String(16), nullable=True))
    op.create_foreign_key(op.f("fk_orders_coupon_code_coupons"), "orders", "coupons", ["coupon_code"], ["code"])


def downgrade():
    op.drop_constraint(op.f("fk_orders_coupon_code_coupons"), "orders", type_="foreignkey")
    op.drop_column("orders", "coupon_code")
