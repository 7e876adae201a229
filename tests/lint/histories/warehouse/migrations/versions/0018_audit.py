"""Audit

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    CREATE TABLE audit.log (
        id bigserial, at timestamptz NOT NULL DEFAULT now(), actor text, what jsonb NOT NULL
    ) PARTITION BY RANGE (at);
    CREATE TABLE audit.log_default PARTITION OF audit.log DEFAULT;
    CREATE INDEX ON audit.log (at);
    """)


def downgrade() -> None:
    pass
