"""Owner of jobs

Revision ID: 0011
Revises: 0010
"""

from warehouse_helpers import add_owner

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_owner("jobs", schema="ops")


def downgrade() -> None:
    pass
