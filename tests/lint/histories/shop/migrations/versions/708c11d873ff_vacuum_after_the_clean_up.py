"""Vacuum after the clean-up

Revision ID: 708c11d873ff
Revises: ee844e27dc3a
Create Date: 2024-03-09 10:02:00
"""

from alembic import op

revision = "708c11d873ff"
down_revision = "ee844e27dc3a"
branch_labels = None
depends_on = None


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("VACUUM (ANALYZE) shipments")


def downgrade():
    pass
