"""An index in the order in which what waits is delivered

Revision ID: 0024

Each look at what is due would otherwise sort everything that waits, however much an outage or a backfill has left.
"""

from remit.migrations.online import create_index_concurrently, drop_index_concurrently

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index beside live readers and writers."""
    create_index_concurrently("ix_outbox_due", "outbox", "(revocation DESC, id) WHERE dead_at IS NULL")


def downgrade() -> None:
    """Drop the index."""
    drop_index_concurrently("ix_outbox_due")
