"""Metrics

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metrics",
        sa.Column("id", sa.Integer(), sa.Sequence("metric_ids", schema="ops"), primary_key=True),
        sa.Column("name", sa.String(100)),
        sa.Column("value", sa.Float(precision=53)),
        schema="ops",
    )


def downgrade() -> None:
    pass
