"""Stars of products

Revision ID: da535fd6cf1f
Revises: f7a4d790ae2c
Create Date: 2021-04-01 10:27:00
"""

import sqlalchemy as sa
from alembic import op

revision = "da535fd6cf1f"
down_revision = "f7a4d790ae2c"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("products", sa.Column("stars", sa.Numeric(2, 1)))
    op.execute(
        sa.text(
            "UPDATE products SET stars = s.stars FROM (SELECT product_id, avg(stars) AS stars FROM reviews GROUP BY 1) s "
            "WHERE s.product_id = products.id AND products.stars IS DISTINCT FROM s.stars"
        )
    )


def downgrade():
    pass
