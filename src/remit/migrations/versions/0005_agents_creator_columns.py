"""Creator columns of agents

Revision ID: 0005

Adding nullable columns and constraints that are not validated reads and rewrites no row, so that the table is locked
for a moment only.
"""

from remit.migrations.creators import add_creator_columns, drop_creator_columns

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and, for new rows, their constraints."""
    add_creator_columns("agents")


def downgrade() -> None:
    """Drop the columns, refused while a row holds a creator."""
    drop_creator_columns("agents")
