"""Own enum value"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TYPE size AS ENUM ('small')")
    op.execute("ALTER TYPE size RENAME VALUE 'small' TO 'little'")


def downgrade() -> None:
    raise NotImplementedError
