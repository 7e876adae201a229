"""What an auth provider handed out for each subject

Revision ID: 0022

The table is new and empty; its foreign key waits for no row of `subjects`.
"""

from remit.migrations.online import execute, run_script

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE IF NOT EXISTS provider_principals (
    subject_id uuid CONSTRAINT pk_provider_principals PRIMARY KEY
      CONSTRAINT fk_provider_principals_subject_id REFERENCES subjects (id),
    principal bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Make the table."""
    run_script(_TABLE)


def downgrade() -> None:
    """Drop it: each subject's principal comes again with his next request."""
    execute("DROP TABLE provider_principals")
