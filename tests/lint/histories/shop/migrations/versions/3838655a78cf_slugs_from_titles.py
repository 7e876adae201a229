"""Slugs from titles

Revision ID: 3838655a78cf
Revises: db030269da23
Create Date: 2020-02-14 10:13:00
"""

import sqlalchemy as sa
from alembic import op

revision = "3838655a78cf"
down_revision = "db030269da23"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("products", sa.Column("slug", sa.Text(), nullable=True))
    conn = op.get_bind()
    products = sa.table(
        "products", sa.column("id", sa.Integer), sa.column("title", sa.Text), sa.column("slug", sa.Text)
    )
    for product in conn.execute(sa.select(products.c.id, products.c.title)):
        slug = "-".join(product.title.lower().split())
        conn.execute(products.update().where(products.c.id == product.id).values(slug=slug))


def downgrade():
    op.drop_column("products", "slug")
