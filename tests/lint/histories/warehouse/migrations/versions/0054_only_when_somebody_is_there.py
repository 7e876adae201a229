"""Only when somebody is there

Revision ID: 0054
Revises: 0053
"""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().execute(sa.text("SELECT 1 FROM core.users LIMIT 1")).scalar():
        op.execute("UPDATE core.users SET kind = 'human'")


def downgrade() -> None:
    if op.get_bind().execute(sa.text("SELECT count(*) FROM core.users")).scalar_one() > 0:
        op.execute("UPDATE core.users SET kind = 'robot' WHERE id = '00000000-0000-0000-0000-000000000000'")
