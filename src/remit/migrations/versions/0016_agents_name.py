"""An index by which agents are found without their tenant

Revision ID: 0016

The sender of a webhook names an agent and no tenant.
"""

from remit.migrations.online import create_index_concurrently, drop_index_concurrently

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the index beside live readers and writers."""
    create_index_concurrently("ix_agents_name", "agents", "(name) WHERE status <> 'Deleted'")


def downgrade() -> None:
    """Drop the index."""
    drop_index_concurrently("ix_agents_name")
