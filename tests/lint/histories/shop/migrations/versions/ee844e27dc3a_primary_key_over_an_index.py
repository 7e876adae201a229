"""Primary key over an index

Revision ID: ee844e27dc3a
Revises: ad4ef2f09804
Create Date: 2024-02-08 10:01:00
"""

from alembic import op

revision = "ee844e27dc3a"
down_revision = "ad4ef2f09804"
branch_labels = None
depends_on = None


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY uq_settings ON settings (key, value)")


def downgrade():
    pass
