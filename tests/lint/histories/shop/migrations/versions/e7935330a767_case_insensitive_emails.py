"""Case-insensitive emails

Revision ID: e7935330a767
Revises: cf842439342d
Create Date: 2022-10-07 10:33:00
"""

from alembic import op
from sqlalchemy.dialects import postgresql

revision = "e7935330a767"
down_revision = "cf842439342d"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("CREATE EXTENSION IF NOT EXISTS citext")
    op.alter_column("users", "email", type_=postgresql.CITEXT(), existing_nullable=False)


def downgrade():
    pass
