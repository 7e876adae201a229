"""New table"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("notes", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("at", sa.DateTime))
    op.create_index("ix_notes_at", "notes", ["at"])


def downgrade() -> None:
    op.drop_table("notes")
