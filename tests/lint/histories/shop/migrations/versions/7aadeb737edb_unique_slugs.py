"""Unique slugs

Revision ID: 7aadeb737edb
Revises: 3838655a78cf
Create Date: 2020-03-15 10:14:00
"""

from alembic import op

revision = "7aadeb737edb"
down_revision = "3838655a78cf"
branch_labels = None
depends_on = None


def upgrade():
    op.create_unique_constraint(op.f("uq_products_slug"), "products", ["slug"])


def downgrade():
    op.drop_constraint(op.f("uq_products_slug"), "products", type_="unique")
