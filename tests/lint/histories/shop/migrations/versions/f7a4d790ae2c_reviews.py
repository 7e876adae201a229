"""Reviews

Revision ID: f7a4d790ae2c
Revises: f24fb37c5aea
Create Date: 2021-03-27 10:26:00
"""

import sqlalchemy as sa
from alembic import op

revision = "f7a4d790ae2c"
down_revision = "f24fb37c5aea"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "reviews",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("product_id", sa.Integer(), sa.ForeignKey("products.id"), nullable=False, index=True),
        sa.Column("stars", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.Text()),
    )


def downgrade():
    pass
