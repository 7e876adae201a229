"""Everybody is a clerk

Revision ID: 0f38030e18cd
Revises: 99d930635779
Create Date: 2020-11-11 10:10:00
"""

from alembic import op

revision = "0f38030e18cd"
down_revision = "99d930635779"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("UPDATE users SET role_id = 2 WHERE role_id IS NULL")


def downgrade():
    pass
