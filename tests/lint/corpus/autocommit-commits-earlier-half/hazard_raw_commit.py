"""Raw commit"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("city", sa.Text))
    op.execute("COMMIT")
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_users_city")
    op.execute("CREATE INDEX CONCURRENTLY ix_users_city ON users (city)")


def downgrade() -> None:
    raise NotImplementedError
