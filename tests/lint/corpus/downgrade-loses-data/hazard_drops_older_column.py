"""Drops older column"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE VIEW one AS SELECT 1 AS n")


def downgrade() -> None:
    op.drop_column("users", "name")
