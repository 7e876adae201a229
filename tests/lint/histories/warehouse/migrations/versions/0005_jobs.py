"""Jobs

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TYPE ops.job_state AS ENUM ('queued', 'running', 'done')")
    op.execute("""
    CREATE TABLE ops.jobs (
        id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
        dataset_id uuid NOT NULL REFERENCES core.datasets (id) ON DELETE CASCADE,
        state ops.job_state NOT NULL DEFAULT 'queued',
        payload json,
        created timestamp without time zone DEFAULT (now() at time zone 'utc')
    )
    """)


def downgrade() -> None:
    pass
