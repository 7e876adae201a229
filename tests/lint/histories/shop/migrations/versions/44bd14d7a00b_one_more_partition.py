"""One more partition

Revision ID: 44bd14d7a00b
Revises: 962f9bbe3238
Create Date: 2023-10-04 10:57:00
"""

from alembic import op

revision = "44bd14d7a00b"
down_revision = "962f9bbe3238"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE TABLE shop_events_2026 (LIKE shop_events INCLUDING DEFAULTS)")
    op.execute(
        "ALTER TABLE shop_events ATTACH PARTITION shop_events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    )


def downgrade():
    pass
