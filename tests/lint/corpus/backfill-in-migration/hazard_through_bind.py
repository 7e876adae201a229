"""Through bind"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    users = sa.table("users", sa.column("name"), sa.column("email"))
    op.get_bind().execute(users.update().values(name=users.c.email))


def downgrade() -> None:
    raise NotImplementedError
