"""Branch: schedules

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op
from warehouse_helpers import ids

revision = "0025"
down_revision = "0024"
branch_labels = ("schedules",)
depends_on = None


def upgrade() -> None:
    op.create_table("schedules", *ids(), sa.Column("cron", sa.Text(), nullable=False), schema="ops")


def downgrade() -> None:
    pass
