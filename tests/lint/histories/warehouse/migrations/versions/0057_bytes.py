"""Bytes

Revision ID: 0057
Revises: 0056
"""

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "datasets",
        sa.Column("bytes", sa.BigInteger(), sa.CheckConstraint("bytes >= 0", name="ck_datasets_bytes")),
        schema="core",
    )


def downgrade() -> None:
    pass
