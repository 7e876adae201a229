"""Credentials apart

Revision ID: d6edf6041214
Revises: ccb28e1b3aa4
Create Date: 2021-12-24 10:23:00
"""

import sqlalchemy as sa
from alembic import op

revision = "d6edf6041214"
down_revision = "ccb28e1b3aa4"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "credentials",
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(16), nullable=False),
    )
    op.execute("COMMENT ON TABLE credentials IS 'argon2; one for each user'")


def downgrade():
    pass
