"""Longer names of products

Revision ID: db030269da23
Revises: 1e4770fd1ae9
Create Date: 2020-01-13 10:12:00
"""

import sqlalchemy as sa
from alembic import op

revision = "db030269da23"
down_revision = "1e4770fd1ae9"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column(
        "products", "sku", existing_type=sa.String(length=32), type_=sa.String(length=64), existing_nullable=False
    )


def downgrade():
    op.alter_column(
        "products", "sku", existing_type=sa.String(length=64), type_=sa.String(length=32), existing_nullable=False
    )
