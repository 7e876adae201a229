"""Batches that commit"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        bind = op.get_bind()
        while bind.execute(
            sa.text(
                "UPDATE users SET name = email WHERE id IN "
                "(SELECT id FROM users WHERE name IS NULL AND email IS NOT NULL LIMIT 1000)"
            )
        ).rowcount:
            pass


def downgrade() -> None:
    pass
