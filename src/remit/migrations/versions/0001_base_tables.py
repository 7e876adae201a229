"""Base tables

Revision ID: 0001
"""

from pathlib import Path

from remit.db.errors import MigrationError
from remit.migrations.online import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    run_script(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Refuse: everything would be lost."""
    raise MigrationError(
        "there is nothing before revision 0001; to start over, drop the database and make an empty one"
    )
