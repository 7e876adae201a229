"""What each reconciliation left, class by class

Revision ID: 0023

Gauges tell it. Runs from before have no value, and are told of as nothing.
"""

from remit.migrations.online import execute

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: it is nullable, so that no row is read or rewritten."""
    execute("ALTER TABLE authz_reconciliations ADD COLUMN IF NOT EXISTS drift jsonb")


def downgrade() -> None:
    """Drop the column: the next reconciliations fill it again."""
    execute("ALTER TABLE authz_reconciliations DROP COLUMN IF EXISTS drift")
