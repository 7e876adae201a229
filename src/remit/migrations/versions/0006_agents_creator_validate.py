"""Validate the creator constraints of agents

Revision ID: 0006

In a transaction of its own: it reads the whole table, under a lock that lets readers and writers pass.
"""

from remit.migrations.creators import validate_creator_constraints

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Check the rows that were there before the constraints."""
    validate_creator_constraints("agents")


def downgrade() -> None:
    """Do nothing: a constraint that was checked needs no unchecking."""
