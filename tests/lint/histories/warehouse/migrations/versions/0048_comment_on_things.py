"""Comment on things

Revision ID: 0048
Revises: 0047
"""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table_comment("datasets", "what people upload; 100% theirs", schema="core")
    op.execute("COMMENT ON COLUMN core.datasets.description IS 'says: \"what is in it\"'")


def downgrade() -> None:
    pass
