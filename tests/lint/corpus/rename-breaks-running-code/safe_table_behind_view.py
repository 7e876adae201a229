"""Table behind view"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("users", "people")
    op.execute("CREATE VIEW users AS SELECT * FROM people")


def downgrade() -> None:
    raise NotImplementedError
