"""Truncate own table"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE scratch (id bigint)")
    op.execute("TRUNCATE scratch")


def downgrade() -> None:
    op.execute("DROP TABLE scratch")
