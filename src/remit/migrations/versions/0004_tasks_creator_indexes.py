"""Creator indexes of tasks

Revision ID: 0004

Built concurrently, outside a transaction.
"""

from remit.migrations.creators import create_creator_indexes, drop_creator_indexes

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the indexes beside live readers and writers."""
    create_creator_indexes("tasks")


def downgrade() -> None:
    """Drop the indexes."""
    drop_creator_indexes("tasks")
