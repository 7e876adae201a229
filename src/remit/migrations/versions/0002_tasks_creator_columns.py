"""Creator columns of tasks

Revision ID: 0002

Adding nullable columns and constraints that are not validated reads and rewrites no row, so that the table is locked
for a moment only.
"""

from remit.migrations.creators import add_creator_columns, drop_creator_columns

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and, for new rows, their constraints."""
    add_creator_columns("tasks")


def downgrade() -> None:
    """Drop the columns, refused while a row holds a creator."""
    drop_creator_columns("tasks")
