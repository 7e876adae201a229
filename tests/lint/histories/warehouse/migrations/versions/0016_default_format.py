"""Default format

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("datasets", "format", server_default="parquet", schema="core")


def downgrade() -> None:
    pass
