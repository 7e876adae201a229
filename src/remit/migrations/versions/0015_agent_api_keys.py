"""Table of agents' API keys

Revision ID: 0015

The table is new and empty: its foreign keys lock the tables they point at for a moment and read none of their rows, and
its indexes are built at once.
"""

from pathlib import Path

from remit.migrations.online import execute, refuse_if_any, run_script

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    # remit: allow registered-rows-cascade because an agent's keys are taken out of the graph and deleted before it
    run_script(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Drop the table, refused while it has a key: nobody could make the same one again."""
    refuse_if_any("agent_api_keys", "TRUE", "it has keys, which would be lost")
    execute("DROP TABLE agent_api_keys")
