"""Alerts of schedules

Revision ID: 0030
Revises: 0029
"""

import sqlalchemy as sa
from alembic import op
from warehouse_helpers import UUID

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alerts", sa.Column("schedule_id", UUID), schema="ops")
    op.create_foreign_key(
        "fk_alerts_schedule",
        "alerts",
        "schedules",
        ["schedule_id"],
        ["id"],
        source_schema="ops",
        referent_schema="ops",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    pass
