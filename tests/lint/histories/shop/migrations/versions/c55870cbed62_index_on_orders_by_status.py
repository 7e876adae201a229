"""Index on orders by status

Revision ID: c55870cbed62
Revises: 8898a15183d9
Create Date: 2020-09-09 10:08:00
"""

from alembic import op

revision = "c55870cbed62"
down_revision = "8898a15183d9"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index(op.f("ix_orders_status"), "orders", ["status"], unique=False)


def downgrade():
    op.drop_index(op.f("ix_orders_status"), table_name="orders")
