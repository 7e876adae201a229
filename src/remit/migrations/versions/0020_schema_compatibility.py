"""Which versions work with the schema, so that servers may be replaced one after the other

Revision ID: 0020

The table is new and has one row.
"""

from remit.migrations.online import execute

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table: the code of the revision before works with this schema."""
    execute(
        """
        CREATE TABLE IF NOT EXISTS schema_compatibility (
          only_row boolean NOT NULL DEFAULT true,
          compatible_since text NOT NULL,
          CONSTRAINT pk_schema_compatibility PRIMARY KEY (only_row),
          CONSTRAINT ck_schema_compatibility_only_row CHECK (only_row)
        )
        """
    )
    execute("INSERT INTO schema_compatibility (compatible_since) VALUES ('0019') ON CONFLICT DO NOTHING")


def downgrade() -> None:
    """Drop it."""
    execute("DROP TABLE IF EXISTS schema_compatibility")
