"""Bigger ids of order lines

Revision ID: c89c25a4bc42
Revises: e7935330a767
Create Date: 2022-11-08 10:34:00
"""

from alembic import op

revision = "c89c25a4bc42"
down_revision = "e7935330a767"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE order_lines ALTER COLUMN quantity TYPE bigint")


def downgrade():
    pass
