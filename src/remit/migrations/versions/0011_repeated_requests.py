"""Requests that come again: a table of idempotency keys, and the fingerprint of what made a task

Revision ID: 0011

The table is new and empty. The column is nullable: no row of `tasks` is read or rewritten.
"""

from remit.migrations.online import execute

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, add the column."""
    execute(
        """
        CREATE TABLE IF NOT EXISTS idempotent_requests (
          key_hash bytea CONSTRAINT pk_idempotent_requests PRIMARY KEY,
          tenant_id uuid NOT NULL,
          request_hash bytea NOT NULL,
          status integer,
          media_type text,
          answer bytea,
          questions jsonb,
          leased_until timestamptz NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    execute("CREATE INDEX IF NOT EXISTS ix_idempotent_requests_created_at ON idempotent_requests (created_at)")
    execute("ALTER TABLE tasks ADD COLUMN IF NOT EXISTS request_hash bytea")


def downgrade() -> None:
    """Drop both: keys and fingerprints matter for a day."""
    execute("ALTER TABLE tasks DROP COLUMN IF EXISTS request_hash")
    execute("DROP TABLE IF EXISTS idempotent_requests")
