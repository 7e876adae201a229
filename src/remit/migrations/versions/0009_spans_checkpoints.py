"""Tables of spans and of checkpoints

Revision ID: 0009

The tables are new and empty: their foreign keys lock the tables they point at for a moment and read none of their rows.
"""

from pathlib import Path

from remit.migrations.online import execute, refuse_if_any, run_script

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = ("spans", "checkpoints", "checkpoint_blobs", "checkpoint_writes")


def upgrade() -> None:
    """Make the tables."""
    run_script(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Drop the tables, refused while one of them holds a row."""
    for table in _TABLES:
        refuse_if_any(table, "TRUE", "it has rows, which would be lost")
    for table in _TABLES:
        execute(f"DROP TABLE {table}")
