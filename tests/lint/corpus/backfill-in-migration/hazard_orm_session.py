"""Orm session"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    users = sa.table("users", sa.column("id"), sa.column("name"))
    session = Session(bind=op.get_bind())
    for key, name in session.execute(sa.select(users.c.id, users.c.name)).all():
        session.execute(users.update().where(users.c.id == key).values(name=f"{name}."))
    session.flush()


def downgrade() -> None:
    raise NotImplementedError
