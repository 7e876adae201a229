"""Storage

Revision ID: 0045
Revises: 0044
"""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE core.datasets ALTER COLUMN description SET STORAGE EXTENDED, ALTER COLUMN description SET COMPRESSION pglz"
    )


def downgrade() -> None:
    pass
