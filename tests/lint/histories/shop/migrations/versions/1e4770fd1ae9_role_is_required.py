"""Role is required

Revision ID: 1e4770fd1ae9
Revises: 0f38030e18cd
Create Date: 2020-12-12 10:11:00
"""

import sqlalchemy as sa
from alembic import op

revision = "1e4770fd1ae9"
down_revision = "0f38030e18cd"
branch_labels = None
depends_on = None


def upgrade():
    op.alter_column("users", "role_id", existing_type=sa.Integer(), nullable=False)


def downgrade():
    op.alter_column("users", "role_id", existing_type=sa.Integer(), nullable=True)
