"""Phone of users

Revision ID: 5b1dd28ea020
Revises: 4ccc547735ab
Create Date: 2020-07-07 10:06:00
"""

import sqlalchemy as sa
from alembic import op

revision = "5b1dd28ea020"
down_revision = "4ccc547735ab"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.add_column(sa.Column("phone", sa.String(length=20), nullable=True))


def downgrade():
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.drop_column("phone")
