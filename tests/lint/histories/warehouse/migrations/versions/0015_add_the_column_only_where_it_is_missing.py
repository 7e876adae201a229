"""Add the column only where it is missing

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    names = {column["name"] for column in inspector.get_columns("datasets", schema="core")}
    if "description" not in names:
        op.add_column("datasets", sa.Column("description", sa.Text()), schema="core")


def downgrade() -> None:
    pass
