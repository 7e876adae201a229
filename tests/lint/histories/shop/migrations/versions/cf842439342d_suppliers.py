"""Suppliers

Revision ID: cf842439342d
Revises: 48a597ebcdcd
Create Date: 2022-09-06 10:32:00
"""

import sqlalchemy as sa
from alembic import op

revision = "cf842439342d"
down_revision = "48a597ebcdcd"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "suppliers", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("name", sa.Text(), nullable=False)
    )
    with op.batch_alter_table("products") as batch_op:
        batch_op.add_column(sa.Column("supplier_id", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_products_supplier_id_suppliers"), "suppliers", ["supplier_id"], ["id"]
        )
        batch_op.create_index(batch_op.f("ix_products_supplier_id"), ["supplier_id"])


def downgrade():
    with op.batch_alter_table("products") as batch_op:
        batch_op.drop_index(batch_op.f("ix_products_supplier_id"))
        batch_op.drop_constraint(batch_op.f("fk_products_supplier_id_suppliers"), type_="foreignkey")
        batch_op.drop_column("supplier_id")
