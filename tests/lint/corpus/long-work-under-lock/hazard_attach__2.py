"""Attach 2"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE history ATTACH PARTITION events FOR VALUES FROM (0) TO (1000000)")


def downgrade() -> None:
    raise NotImplementedError
