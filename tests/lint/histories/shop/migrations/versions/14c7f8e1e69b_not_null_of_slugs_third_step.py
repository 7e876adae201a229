"""Not null of slugs, third step

Revision ID: 14c7f8e1e69b
Revises: ba8ef438baa4
Create Date: 2023-08-02 10:55:00
"""

import sqlalchemy as sa
from alembic import op

revision = "14c7f8e1e69b"
down_revision = "ba8ef438baa4"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column("products", "slug", existing_type=sa.Text(), nullable=False)
    op.drop_constraint("ck_products_slug", "products", type_="check")


def downgrade():
    pass
