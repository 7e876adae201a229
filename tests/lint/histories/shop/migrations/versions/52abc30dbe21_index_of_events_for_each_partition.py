"""Index of events, for each partition

Revision ID: 52abc30dbe21
Revises: 44bd14d7a00b
Create Date: 2023-11-05 10:58:00
"""

from alembic import op

revision = "52abc30dbe21"
down_revision = "44bd14d7a00b"
branch_labels = None
depends_on = None


def upgrade():
    partitions = [f"shop_events_{year}" for year in range(2022, 2027)]
    with op.get_context().autocommit_block():
        for partition in partitions:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS ix_{partition}_at")
            op.execute(f"CREATE INDEX CONCURRENTLY ix_{partition}_at ON {partition} (at)")


def downgrade():
    pass
