"""Give relationships its new key

Revision ID: rekey_2

The index is there, so that this reads no row: both keys change places in one statement.
"""

from remit.migrations.online import execute

revision = "rekey_2"
down_revision = "rekey_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Exchange the keys; the new index takes the old name."""
    execute(
        "ALTER TABLE relationships DROP CONSTRAINT pk_relationships, "
        "ADD CONSTRAINT pk_relationships PRIMARY KEY USING INDEX pk_relationships_new"
    )


def downgrade() -> None:
    """Refuse: the old key would have to be built first."""
    raise NotImplementedError
