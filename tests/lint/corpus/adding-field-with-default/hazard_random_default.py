"""Random default"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("token", sa.Uuid, server_default=sa.text("gen_random_uuid()")))


def downgrade() -> None:
    raise NotImplementedError
