"""Shipments

Revision ID: 69b10a5a04ce
Revises: d33ba4bbfe72
Create Date: 2022-05-14 10:40:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "69b10a5a04ce"
down_revision = "d33ba4bbfe72"
branch_labels = None
depends_on = None


def upgrade():
    shipment = postgresql.ENUM("parcel", "letter", name="shipment_kind")
    op.create_table(
        "shipments",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        sa.Column("order_id", sa.BigInteger(), sa.ForeignKey("orders.id"), nullable=False),
        sa.Column("kind", shipment, nullable=False),
        sa.Column("tracking", sa.String(40), unique=True),
    )


def downgrade():
    pass
