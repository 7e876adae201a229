"""Not null of slugs, second step

Revision ID: ba8ef438baa4
Revises: 20c1c0e2755d
Create Date: 2023-07-01 10:54:00
"""

from alembic import op

revision = "ba8ef438baa4"
down_revision = "20c1c0e2755d"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE products VALIDATE CONSTRAINT ck_products_slug")


def downgrade():
    pass
