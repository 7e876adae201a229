"""Build the new key of relationships

Revision ID: rekey_1

Beside readers and writers, as a unique index; the table goes on under its old key meanwhile.
"""

from alembic import op

from remit.migrations.online import execute
from remit.migrations.state import head_revision

revision = "rekey_1"
down_revision = head_revision()
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index; what an interrupted build left is dropped first."""
    with op.get_context().autocommit_block():
        execute("SET lock_timeout = 0")
        execute("SET statement_timeout = 0")
        execute("DROP INDEX CONCURRENTLY IF EXISTS pk_relationships_new")
        execute(
            "CREATE UNIQUE INDEX CONCURRENTLY pk_relationships_new ON relationships "
            "(subject_type, subject_id, subject_relation, resource_type, resource_id, relation)"
        )
        execute("SET lock_timeout = '3s'")
        execute("SET statement_timeout = '30s'")


def downgrade() -> None:
    """Drop the index."""
    with op.get_context().autocommit_block():
        execute("DROP INDEX CONCURRENTLY IF EXISTS pk_relationships_new")
