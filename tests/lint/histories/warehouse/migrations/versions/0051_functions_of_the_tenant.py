"""Functions of the tenant

Revision ID: 0051
Revises: 0050
"""

from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql("""
    CREATE FUNCTION core.tenant_of(u uuid) RETURNS uuid STABLE LANGUAGE sql BEGIN ATOMIC SELECT tenant_id FROM core.users WHERE id = u; END
    """)


def downgrade() -> None:
    pass
