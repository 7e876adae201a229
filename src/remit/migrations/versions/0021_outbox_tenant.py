"""An index by which what waits in a tenant, of its groups and members, is found

Revision ID: 0021

Every answer about a resource looks for such changes, also while an outage leaves many of them in the table.
"""

from remit.migrations.online import create_index_concurrently, drop_index_concurrently

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index beside live readers and writers."""
    create_index_concurrently("ix_outbox_tenant_id_resource_type", "outbox", "(tenant_id, resource_type)")


def downgrade() -> None:
    """Drop the index."""
    drop_index_concurrently("ix_outbox_tenant_id_resource_type")
