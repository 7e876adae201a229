"""Branch: alerts

Revision ID: 0027
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from warehouse_helpers import ids

revision = "0027"
down_revision = "0024"
branch_labels = ("alerts",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts", *ids(), sa.Column("rule", postgresql.JSONB(none_as_null=True), nullable=False), schema="ops"
    )


def downgrade() -> None:
    pass
