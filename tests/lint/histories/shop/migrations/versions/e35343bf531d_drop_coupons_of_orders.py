"""Drop coupons of orders

Revision ID: e35343bf531d
Revises: 3ff96e43ea4d
Create Date: 2023-01-22 10:48:00
"""

from alembic import op

revision = "e35343bf531d"
down_revision = "3ff96e43ea4d"
branch_labels = None
depends_on = None


def upgrade():
    op.drop_constraint("fk_orders_coupon_code_coupons", "orders", type_="foreignkey")
    op.drop_column("orders", "coupon_code")
    op.drop_table("coupons")


def downgrade():
    pass
