"""Fill invoice numbers in batches

Revision ID: ef1786a3568a
Revises: 57d482fc57f3
Create Date: 2023-11-20 10:46:00
"""

import sqlalchemy as sa
from alembic import op

revision = "ef1786a3568a"
down_revision = "57d482fc57f3"
branch_labels = None
depends_on = None


def upgrade():
    with op.get_context().autocommit_block():
        bind = op.get_bind()
        while bind.execute(
            sa.text(
                "UPDATE orders SET invoice_number = nextval('invoice_numbers') "
                "WHERE id IN (SELECT id FROM orders WHERE invoice_number IS NULL ORDER BY id LIMIT 500)"
            )
        ).rowcount:
            pass


def downgrade():
    pass
