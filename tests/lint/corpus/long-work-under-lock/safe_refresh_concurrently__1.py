"""Refresh concurrently 1"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE MATERIALIZED VIEW ages AS SELECT id, age FROM users")
    op.execute("CREATE UNIQUE INDEX ix_ages_id ON ages (id)")


def downgrade() -> None:
    raise NotImplementedError
