"""Line  2"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE VIEW two AS SELECT 2 AS n")


def downgrade() -> None:
    op.execute("DROP VIEW two")
