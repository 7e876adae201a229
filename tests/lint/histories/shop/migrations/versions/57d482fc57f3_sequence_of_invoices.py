"""Sequence of invoices

Revision ID: 57d482fc57f3
Revises: 221c2ee6824c
Create Date: 2023-10-19 10:45:00
"""

import sqlalchemy as sa
from alembic import op

revision = "57d482fc57f3"
down_revision = "221c2ee6824c"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(sa.schema.CreateSequence(sa.Sequence("invoice_numbers", start=1000)))
    op.add_column("orders", sa.Column("invoice_number", sa.BigInteger(), nullable=True))


def downgrade():
    op.drop_column("orders", "invoice_number")
    op.execute(sa.schema.DropSequence(sa.Sequence("invoice_numbers")))
