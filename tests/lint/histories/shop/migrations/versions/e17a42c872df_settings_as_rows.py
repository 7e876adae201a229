"""Settings as rows

Revision ID: e17a42c872df
Revises: c89c25a4bc42
Create Date: 2022-12-09 10:35:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "e17a42c872df"
down_revision = "c89c25a4bc42"
branch_labels = None
depends_on = None


def upgrade():
    settings = op.create_table(
        "settings", sa.Column("key", sa.Text(), primary_key=True), sa.Column("value", postgresql.JSONB())
    )
    op.execute(settings.insert().values(key="shipping", value={"free_from": 50, "zones": ["de", "at"]}))


def downgrade():
    pass
