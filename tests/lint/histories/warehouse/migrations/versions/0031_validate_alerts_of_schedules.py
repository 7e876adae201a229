"""Validate alerts of schedules

Revision ID: 0031
Revises: 0030
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ops.alerts VALIDATE CONSTRAINT fk_alerts_schedule")


def downgrade() -> None:
    pass
