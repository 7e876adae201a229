"""An index by which old spans are found

Revision ID: 0012

A block range index: rows come in the order of their time, so a few bytes a page tell which pages are old, and inserts
pay next to nothing. Events and audit entries need none: their ids grow with time.
"""

from remit.migrations.online import create_index_concurrently, drop_index_concurrently

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index beside live readers and writers."""
    create_index_concurrently("ix_spans_created_at", "spans", "USING brin (created_at)")


def downgrade() -> None:
    """Drop the index."""
    drop_index_concurrently("ix_spans_created_at")
