"""Validate the creator constraints of tasks

Revision ID: 0003

In a transaction of its own: it reads the whole table, under a lock that lets readers and writers pass.
"""

from remit.migrations.creators import validate_creator_constraints

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Check the rows that were there before the constraints."""
    validate_creator_constraints("tasks")


def downgrade() -> None:
    """Do nothing: a constraint that was checked needs no unchecking."""
