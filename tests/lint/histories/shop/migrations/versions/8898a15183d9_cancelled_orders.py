"""Cancelled orders

Revision ID: 8898a15183d9
Revises: 5b1dd28ea020
Create Date: 2020-08-08 10:07:00
"""

from alembic import op

revision = "8898a15183d9"
down_revision = "5b1dd28ea020"
branch_labels = None
depends_on = None


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE order_status ADD VALUE IF NOT EXISTS 'cancelled'")


def downgrade():
    # Values of an enum cannot be removed.
    pass
