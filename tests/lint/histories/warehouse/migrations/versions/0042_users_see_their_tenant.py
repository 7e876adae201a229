"""Users see their tenant

Revision ID: 0042
Revises: 0041
"""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE core.users ENABLE ROW LEVEL SECURITY; ALTER TABLE core.users FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant ON core.users USING (tenant_id::text = current_setting('app.tenant', true)) WITH CHECK (true)"
    )


def downgrade() -> None:
    pass
