"""Coupons

Revision ID: ea7ecc02cd9d
Revises: 7aadeb737edb
Create Date: 2021-04-16 10:15:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ea7ecc02cd9d"
down_revision = "7aadeb737edb"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "coupons",
        sa.Column("code", sa.String(16), primary_key=True),
        sa.Column("percent", sa.SmallInteger(), nullable=False),
        sa.Column("valid", postgresql.TSTZRANGE(), nullable=True),
        sa.CheckConstraint("percent BETWEEN 1 AND 100", name="ck_coupons_percent"),
    )


def downgrade():
    pass
