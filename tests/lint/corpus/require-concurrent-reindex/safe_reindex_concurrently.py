"""Reindex concurrently"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("REINDEX TABLE CONCURRENTLY users")


def downgrade() -> None:
    raise NotImplementedError
