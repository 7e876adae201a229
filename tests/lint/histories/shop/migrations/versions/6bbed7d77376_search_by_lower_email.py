"""Search by lower email

Revision ID: 6bbed7d77376
Revises: 7a135be2a93e
Create Date: 2021-08-20 10:19:00
"""

from alembic import op

revision = "6bbed7d77376"
down_revision = "7a135be2a93e"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE INDEX IF NOT EXISTS ix_users_lower_email ON users (lower(email))")


def downgrade():
    op.execute("DROP INDEX IF EXISTS ix_users_lower_email")
