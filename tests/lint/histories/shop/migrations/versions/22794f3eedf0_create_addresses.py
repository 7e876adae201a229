"""Create addresses

Revision ID: 22794f3eedf0
Revises: 7d5051c791cf
Create Date: 2020-03-03 10:02:00
"""

import sqlalchemy as sa
from alembic import op

revision = "22794f3eedf0"
down_revision = "7d5051c791cf"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "addresses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("street", sa.String(length=200)),
        sa.Column("country", sa.CHAR(2), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_addresses_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addresses")),
    )
    op.create_index(op.f("ix_addresses_user_id"), "addresses", ["user_id"], unique=False)


def downgrade():
    op.drop_table("addresses")
