"""Materialized view 1"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE MATERIALIZED VIEW ages AS SELECT id, age FROM users")


def downgrade() -> None:
    raise NotImplementedError
