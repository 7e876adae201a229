"""The newest token of each tenant

Revision ID: 0018

A revision of its own, so that a wait for this table stops nobody at another. Databases that had the column from an
earlier form of 0014 keep it.
"""

from remit.migrations.online import execute

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: it is nullable, so that no row is read or rewritten."""
    execute("ALTER TABLE tenants ADD COLUMN IF NOT EXISTS authz_zedtoken text")


def downgrade() -> None:
    """Drop the column: the next delivery fills it again."""
    execute("ALTER TABLE tenants DROP COLUMN IF EXISTS authz_zedtoken")
