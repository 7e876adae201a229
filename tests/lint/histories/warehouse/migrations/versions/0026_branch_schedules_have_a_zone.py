"""Branch: schedules have a zone

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("schedules", sa.Column("zone", sa.Text(), server_default="UTC", nullable=False), schema="ops")


def downgrade() -> None:
    pass
