"""Kinds of users

Revision ID: 0040
Revises: 0039
"""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "DO $$ BEGIN CREATE TYPE core.user_kind AS ENUM ('human', 'robot'); EXCEPTION WHEN duplicate_object THEN null; END $$"
    )
    op.execute("ALTER TABLE core.users ADD COLUMN IF NOT EXISTS kind core.user_kind NOT NULL DEFAULT 'human'")


def downgrade() -> None:
    pass
