"""Flags of accounts: where their checks are answered, and where their resources are written besides

Revision ID: 0019

The table is new and empty.
"""

from remit.migrations.online import execute

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    execute(
        """
        CREATE TABLE IF NOT EXISTS account_flags (
          tenant_id uuid CONSTRAINT pk_account_flags PRIMARY KEY
            CONSTRAINT fk_account_flags_tenant_id REFERENCES tenants (id),
          check_backend text NOT NULL
            CONSTRAINT ck_account_flags_check_backend CHECK (check_backend IN ('postgres', 'spicedb', 'http')),
          dual_write text[] NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )


def downgrade() -> None:
    """Drop it; accounts then have the server's default."""
    execute("DROP TABLE IF EXISTS account_flags")
