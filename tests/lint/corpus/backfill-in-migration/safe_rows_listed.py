"""Rows listed"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users AS u SET age = v.age FROM (VALUES (1, 20), (3, 40)) AS v (id, age) WHERE u.id = v.id")


def downgrade() -> None:
    pass
