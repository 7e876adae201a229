"""Tables that the corpus changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TYPE mood AS ENUM ('calm', 'angry')")
    op.execute("CREATE DOMAIN positive AS integer")
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("email", sa.String(100)),
        sa.Column("name", sa.Text),
        sa.Column("age", sa.Integer),
    )
    op.execute("ALTER TABLE users ADD COLUMN mood mood")
    op.create_index("ix_users_name", "users", ["name"])
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("user_id", sa.BigInteger),
        sa.Column("status", sa.Text),
        sa.Column("total", sa.Numeric(10, 2)),
    )
    op.execute("ALTER TABLE orders ADD CONSTRAINT ck_orders_total CHECK (total >= 0) NOT VALID")
    op.execute("CREATE TABLE events (id bigint NOT NULL)")
    op.execute("CREATE TABLE logs (id bigint) PARTITION BY RANGE (id)")
    op.execute("CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10)")


def downgrade() -> None:
    raise NotImplementedError
