"""Payload as jsonb

Revision ID: 0009
Revises: 0008
"""

from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("jobs", "payload", type_=postgresql.JSONB(), postgresql_using="payload::jsonb", schema="ops")


def downgrade() -> None:
    pass
