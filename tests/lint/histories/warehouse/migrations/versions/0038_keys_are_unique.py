"""Keys are unique

Revision ID: 0038
Revises: 0037
"""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ops.uq_jobs_key")
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY uq_jobs_key ON ops.jobs (key)")
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    pass
