"""Refresh revenue

Revision ID: 3357be9d360c
Revises: 9992e1b468d1
Create Date: 2022-07-04 10:30:00
"""

import sqlalchemy as sa
from alembic import op

revision = "3357be9d360c"
down_revision = "9992e1b468d1"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(sa.DDL("REFRESH MATERIALIZED VIEW revenue"))


def downgrade():
    pass
