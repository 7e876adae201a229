"""${message}

Revision ID: ${up_revision}

On a table in use: constraints NOT VALID here and VALIDATE in a later revision, indexes with
`create_index_concurrently`; see `remit/migrations/online.py`.
"""

from remit.migrations.online import execute

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Say what it makes."""
    ${upgrades if upgrades else 'execute("")'}


def downgrade() -> None:
    """Say what it drops, or raise MigrationError where data would be lost."""
    ${downgrades if downgrades else 'execute("")'}
