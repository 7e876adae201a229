"""Not null without default"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("city", sa.Text, nullable=False))


def downgrade() -> None:
    raise NotImplementedError
