"""Whole numbers of stars

Revision ID: ad4ef2f09804
Revises: d7b2d69d3256
Create Date: 2024-01-07 10:00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "ad4ef2f09804"
down_revision = "d7b2d69d3256"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column("reviews", "stars", type_=sa.Integer(), existing_type=sa.SmallInteger())


def downgrade():
    pass
