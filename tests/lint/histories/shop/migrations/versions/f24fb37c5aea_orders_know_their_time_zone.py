"""Orders know their time zone

Revision ID: f24fb37c5aea
Revises: 013dc89e876c
Create Date: 2021-02-26 10:25:00
"""

import sqlalchemy as sa
from alembic import op

revision = "f24fb37c5aea"
down_revision = "013dc89e876c"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column(
        "orders", "ordered_at", type_=sa.DateTime(timezone=True), postgresql_using="ordered_at AT TIME ZONE 'UTC'"
    )


def downgrade():
    pass
