"""How far a tracker is, as a number

Revision ID: 0010

With the number beside the event's id a cursor cannot move backwards, even when the event itself is gone. Nothing could
move a cursor before, so that no row needs a number.
"""

from remit.migrations.online import execute

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a nullable column: no row is read or rewritten."""
    execute("ALTER TABLE agent_task_trackers ADD COLUMN IF NOT EXISTS last_processed_sequence_id bigint")


def downgrade() -> None:
    """Drop the column; the event's id tells the number as long as the event is there."""
    execute("ALTER TABLE agent_task_trackers DROP COLUMN IF EXISTS last_processed_sequence_id")
