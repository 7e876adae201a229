"""Row level security of carts

Revision ID: 4b7e24daf977
Revises: 24029f597b8c
Create Date: 2022-08-17 10:43:00
"""

from alembic import op

revision = "4b7e24daf977"
down_revision = "24029f597b8c"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE carts ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY own_cart ON carts USING (user_id = current_setting('app.user_id', true)::integer)")


def downgrade():
    pass
