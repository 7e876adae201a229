"""In a loop"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("age", "email"):
        op.execute(f"CREATE INDEX ix_users_{column} ON users ({column})")


def downgrade() -> None:
    raise NotImplementedError
