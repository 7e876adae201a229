"""Check of totals

Revision ID: 935ab579bc04
Revises: 55fac78e32ff
Create Date: 2022-02-11 10:37:00
"""

from alembic import op

revision = "935ab579bc04"
down_revision = "55fac78e32ff"
branch_labels = None
depends_on = None


def upgrade():
    op.create_check_constraint(op.f("ck_orders_total_positive"), "orders", "total >= 0")


def downgrade():
    op.drop_constraint(op.f("ck_orders_total_positive"), "orders", type_="check")
