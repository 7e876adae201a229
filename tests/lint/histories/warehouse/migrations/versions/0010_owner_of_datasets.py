"""Owner of datasets

Revision ID: 0010
Revises: 0009
"""

from warehouse_helpers import add_owner

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_owner("datasets")


def downgrade() -> None:
    pass
