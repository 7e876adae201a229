"""Events, partitioned

Revision ID: 962f9bbe3238
Revises: 14c7f8e1e69b
Create Date: 2023-09-03 10:56:00
"""

from alembic import op

revision = "962f9bbe3238"
down_revision = "14c7f8e1e69b"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        "CREATE TABLE shop_events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, body jsonb) PARTITION BY RANGE (at)"
    )
    for year in range(2022, 2026):
        op.execute(
            f"CREATE TABLE shop_events_{year} PARTITION OF shop_events FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
        )
    op.execute("CREATE TABLE shop_events_rest PARTITION OF shop_events DEFAULT")


def downgrade():
    op.execute("DROP TABLE shop_events")
