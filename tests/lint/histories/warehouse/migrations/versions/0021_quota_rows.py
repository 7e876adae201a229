"""Quota rows

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    conn = op.get_bind()
    rows = conn.execute(sa.text("SELECT id FROM core.tenants")).fetchall()
    for (tenant_id,) in rows:
        conn.execute(sa.text("INSERT INTO core.quotas VALUES (:t, 1000) ON CONFLICT DO NOTHING"), {"t": tenant_id})


def downgrade() -> None:
    pass
