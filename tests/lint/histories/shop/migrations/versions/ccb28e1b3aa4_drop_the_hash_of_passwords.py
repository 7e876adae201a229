"""Drop the hash of passwords

Revision ID: ccb28e1b3aa4
Revises: e1192c7db462
Create Date: 2021-11-23 10:22:00
"""

import sqlalchemy as sa
from alembic import op

revision = "ccb28e1b3aa4"
down_revision = "e1192c7db462"
branch_labels = None
depends_on = None


def upgrade():
    op.drop_column("users", "hashed_password")


def downgrade():
    op.add_column("users", sa.Column("hashed_password", sa.String(), nullable=True))
