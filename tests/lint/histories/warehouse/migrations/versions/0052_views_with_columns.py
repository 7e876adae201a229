"""Views with columns

Revision ID: 0052
Revises: 0051
"""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        sa.text(
            "CREATE OR REPLACE VIEW core.people AS SELECT u.*, t.name AS tenant FROM core.users u JOIN core.tenants t ON t.id = u.tenant_id"
        )
    )


def downgrade() -> None:
    pass
