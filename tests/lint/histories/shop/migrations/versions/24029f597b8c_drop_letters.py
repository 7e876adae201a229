"""Drop letters

Revision ID: 24029f597b8c
Revises: ae202d06635b
Create Date: 2022-07-16 10:42:00
"""

import sqlalchemy as sa
from alembic import op

revision = "24029f597b8c"
down_revision = "ae202d06635b"
branch_labels = None
depends_on = None


def upgrade():
    op.get_bind().execute(sa.text("DELETE FROM shipments WHERE kind = :kind"), {"kind": "letter"})


def downgrade():
    pass
