"""Fillfactor

Revision ID: 1afc0b42283f
Revises: 9c42782104da
Create Date: 2023-05-26 10:52:00
"""

from alembic import op

revision = "1afc0b42283f"
down_revision = "9c42782104da"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE carts SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)")


def downgrade():
    pass
