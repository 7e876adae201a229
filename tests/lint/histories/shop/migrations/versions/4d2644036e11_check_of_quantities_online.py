"""Check of quantities, online

Revision ID: 4d2644036e11
Revises: 935ab579bc04
Create Date: 2022-03-12 10:38:00
"""

from alembic import op

revision = "4d2644036e11"
down_revision = "935ab579bc04"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE order_lines ADD CONSTRAINT ck_order_lines_quantity CHECK (quantity > 0) NOT VALID")


def downgrade():
    pass
