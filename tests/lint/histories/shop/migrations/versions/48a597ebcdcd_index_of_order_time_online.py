"""Index of order time, online

Revision ID: 48a597ebcdcd
Revises: 3357be9d360c
Create Date: 2022-08-05 10:31:00
"""

from alembic import op

revision = "48a597ebcdcd"
down_revision = "3357be9d360c"
branch_labels = None
depends_on = None


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_orders_ordered_at", "orders", ["ordered_at"], postgresql_concurrently=True, if_not_exists=True
        )


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("ix_orders_ordered_at", "orders", postgresql_concurrently=True, if_exists=True)
