"""Creator indexes of agents

Revision ID: 0007

Built concurrently, outside a transaction.
"""

from remit.migrations.creators import create_creator_indexes, drop_creator_indexes

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the indexes beside live readers and writers."""
    create_creator_indexes("agents")


def downgrade() -> None:
    """Drop the indexes."""
    drop_creator_indexes("agents")
