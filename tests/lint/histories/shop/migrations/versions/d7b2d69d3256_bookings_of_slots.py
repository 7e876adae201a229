"""Bookings of slots

Revision ID: d7b2d69d3256
Revises: 52abc30dbe21
Create Date: 2023-12-06 10:59:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "d7b2d69d3256"
down_revision = "52abc30dbe21"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "slots",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("room"), "="), (sa.column("during"), "&&"), name="ex_slots", using="gist"
        ),
    )


def downgrade():
    pass
