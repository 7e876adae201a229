"""Other type in new table"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE letters (id bigint, text text)")
    op.execute("ALTER TABLE letters ADD COLUMN sent_at timestamptz")


def downgrade() -> None:
    raise NotImplementedError
