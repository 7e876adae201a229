"""Tables of the job queue

Revision ID: 0008

They live in a schema of their own. Procrastinate's functions name its tables without a schema, so that each function
is given a search path: it then works whatever the caller's is, and no caller can put another table in its way.

The tables are the installed package's, which the lock file pins. When a later release of it changes them, a test says
so by the checksum of its schema, and a revision with the package's own migration has to follow.
"""

from procrastinate.schema import SchemaManager

from remit.migrations.online import execute, refuse_if_any, run_script

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA_SHA256 = "c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009"

_FIX_SEARCH_PATHS = """
DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc WHERE pronamespace = 'procrastinate'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = procrastinate, pg_temp', routine);
    END LOOP;
END;
$$;
"""


def upgrade() -> None:
    """Make the schema `procrastinate` and everything in it."""
    execute("CREATE SCHEMA procrastinate")
    execute("SET LOCAL search_path = procrastinate")
    run_script(SchemaManager.get_schema())
    execute("SET LOCAL search_path = DEFAULT")
    run_script(_FIX_SEARCH_PATHS)


def downgrade() -> None:
    """Drop the schema, refused while a job waits or runs."""
    refuse_if_any("procrastinate.procrastinate_jobs", "status IN ('todo', 'doing')", "jobs are waiting or running")
    execute("DROP SCHEMA procrastinate CASCADE")
