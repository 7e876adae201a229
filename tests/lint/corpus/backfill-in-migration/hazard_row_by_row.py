"""Row by row"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    for row in bind.execute(sa.text("SELECT id, email FROM users")):
        bind.execute(sa.text("UPDATE users SET name = :name WHERE id = :id"), {"name": row.email, "id": row.id})


def downgrade() -> None:
    raise NotImplementedError
