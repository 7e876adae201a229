"""Function called"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE FUNCTION clean() RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE users SET name = trim(name); END $$"
    )
    op.execute("SELECT clean()")


def downgrade() -> None:
    raise NotImplementedError
