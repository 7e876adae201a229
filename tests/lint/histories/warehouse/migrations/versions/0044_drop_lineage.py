"""Drop lineage

Revision ID: 0044
Revises: 0043
"""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("lineage", schema="attic")


def downgrade() -> None:
    raise NotImplementedError("lineage is gone; restore a dump")
