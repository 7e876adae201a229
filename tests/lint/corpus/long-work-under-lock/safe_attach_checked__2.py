"""Attach checked 2"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE events VALIDATE CONSTRAINT ck_events_id")


def downgrade() -> None:
    raise NotImplementedError
