"""Quotas

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE DOMAIN core.positive AS bigint CHECK (VALUE > 0)")
    op.execute(
        "CREATE TABLE core.quotas (tenant_id uuid PRIMARY KEY REFERENCES core.tenants (id), bytes core.positive NOT NULL)"
    )


def downgrade() -> None:
    pass
