"""Robots

Revision ID: 0041
Revises: 0040
"""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE core.users SET kind = 'robot' WHERE email LIKE '%@robots.%' OR email ~ '^bot\\+'")


def downgrade() -> None:
    pass
