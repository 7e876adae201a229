"""Bigger quotas

Revision ID: 0022
Revises: 0021
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER DOMAIN core.positive ADD CONSTRAINT positive_max CHECK (VALUE < 1000000000000) NOT VALID")


def downgrade() -> None:
    pass
