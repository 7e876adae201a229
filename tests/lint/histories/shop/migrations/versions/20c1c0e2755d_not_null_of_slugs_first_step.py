"""Not null of slugs, first step

Revision ID: 20c1c0e2755d
Revises: 1afc0b42283f
Create Date: 2023-06-27 10:53:00
"""

from alembic import op

revision = "20c1c0e2755d"
down_revision = "1afc0b42283f"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE products ADD CONSTRAINT ck_products_slug CHECK (slug IS NOT NULL) NOT VALID")


def downgrade():
    pass
