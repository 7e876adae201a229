"""Attach checked 1"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE history (id bigint) PARTITION BY RANGE (id)")
    op.execute("ALTER TABLE events ADD CONSTRAINT ck_events_id CHECK (id >= 0 AND id < 1000000) NOT VALID")


def downgrade() -> None:
    raise NotImplementedError
