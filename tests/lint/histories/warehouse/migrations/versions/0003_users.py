"""Users

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from warehouse_helpers import UUID, ids

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        *ids(),
        sa.Column("tenant_id", UUID, sa.ForeignKey("core.tenants.id", ondelete="CASCADE"), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        schema="core",
    )
    op.create_unique_constraint("uq_users_email", "users", ["tenant_id", "email"], schema="core")


def downgrade() -> None:
    pass
