"""Token of carts

Revision ID: e1192c7db462
Revises: 917b3bf43f7b
Create Date: 2021-10-22 10:21:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "e1192c7db462"
down_revision = "917b3bf43f7b"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column(
        "carts", sa.Column("token", postgresql.UUID(), server_default=sa.text("gen_random_uuid()"), nullable=False)
    )


def downgrade():
    op.drop_column("carts", "token")
