"""Set not null"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "age", nullable=False)


def downgrade() -> None:
    raise NotImplementedError
