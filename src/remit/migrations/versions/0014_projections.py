"""What an engine elsewhere has been told: versions and relationships of each resource's projection

Revision ID: 0014

The tables are new and empty. The column of `outbox` is added without reading or rewriting a row: its default
is constant.
"""

from pathlib import Path

from remit.migrations.online import execute, run_script

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, add the column."""
    run_script(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Drop them: what an engine elsewhere holds is found out again by a reconciliation."""
    execute("ALTER TABLE outbox DROP COLUMN forward")
    execute("DROP TABLE projected_relationships")
    execute("DROP TABLE projections")
