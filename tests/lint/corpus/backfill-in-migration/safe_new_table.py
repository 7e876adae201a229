"""New table"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("kinds", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("name", sa.Text))
    op.execute("UPDATE kinds SET name = ''")


def downgrade() -> None:
    op.drop_table("kinds")
