"""Statistics of products

Revision ID: 9c42782104da
Revises: e4dc45bef036
Create Date: 2023-04-25 10:51:00
"""

from alembic import op

revision = "9c42782104da"
down_revision = "e4dc45bef036"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE products ALTER COLUMN supplier_id SET STATISTICS 500")
    op.execute("CREATE STATISTICS st_products ON supplier_id, price FROM products")


def downgrade():
    pass
