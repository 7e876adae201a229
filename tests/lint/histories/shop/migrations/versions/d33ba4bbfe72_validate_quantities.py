"""Validate quantities

Revision ID: d33ba4bbfe72
Revises: 4d2644036e11
Create Date: 2022-04-13 10:39:00
"""

from alembic import op

revision = "d33ba4bbfe72"
down_revision = "4d2644036e11"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE order_lines VALIDATE CONSTRAINT ck_order_lines_quantity")


def downgrade():
    pass
