"""Names without a limit

Revision ID: 0056
Revises: 0055
"""

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("datasets", "name", type_=sa.Text(), existing_type=sa.String(80), schema="core")


def downgrade() -> None:
    pass
