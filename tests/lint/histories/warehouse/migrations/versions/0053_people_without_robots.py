"""People without robots

Revision ID: 0053
Revises: 0052
"""

from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP VIEW IF EXISTS core.people")
    op.execute(
        "CREATE VIEW core.people AS SELECT u.id, u.email, t.name AS tenant FROM core.users u JOIN core.tenants t ON t.id = u.tenant_id WHERE kind <> 'robot'"
    )


def downgrade() -> None:
    pass
