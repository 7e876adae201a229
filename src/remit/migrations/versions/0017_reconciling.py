"""How far a reconciliation is, so that one that was killed goes on

Revision ID: 0017

The table is new and empty.
"""

from remit.migrations.online import execute

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    execute(
        """
        CREATE TABLE IF NOT EXISTS authz_reconciling (
          tenant_id uuid NOT NULL CONSTRAINT fk_authz_reconciling_tenant_id REFERENCES tenants (id),
          resource_type text NOT NULL,
          apply boolean NOT NULL,
          cursor uuid NOT NULL,
          report jsonb NOT NULL,
          started_at timestamptz NOT NULL DEFAULT now(),
          CONSTRAINT pk_authz_reconciling PRIMARY KEY (tenant_id, resource_type, apply)
        )
        """
    )


def downgrade() -> None:
    """Drop it: a reconciliation in the middle begins anew."""
    execute("DROP TABLE IF EXISTS authz_reconciling")
