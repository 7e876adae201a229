"""Steps for tables in use: short locks, nothing rewritten, and each can be run again after a failure in the middle."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from sqlalchemy import text

from remit.db.errors import MigrationError

TIME_LIMITS = {"lock_timeout": "3s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "60s"}
"""What a migration's session starts with: a statement that waits for a lock makes everybody behind it wait too."""


def execute(statement: str) -> None:
    """Run one statement, or print it when the revision is rendered as SQL."""
    op.execute(text(statement.replace(":", r"\:")))


def run_script(script: str) -> None:
    """Run several statements separated by semicolons, exactly as written."""
    context = op.get_context()
    if context.as_sql:
        context.impl.static_output(script)
    else:
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(script)


def refuse_if_any(table: str, condition: str, reason: str) -> None:
    """Raise MigrationError if a row of the table meets the condition: undoing the revision would lose data."""
    if _exists(f"SELECT EXISTS (SELECT FROM {table} WHERE {condition})"):
        raise MigrationError(f"{table}: {reason}; restore a dump taken before the upgrade instead")


def add_check_not_valid(table: str, name: str, condition: str) -> None:
    """Add a check constraint for new and changed rows. `validate_constraint`, in a later revision, covers the rest."""
    known = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = :name AND conrelid = to_regclass(:table))"
    if not _exists(known, name=name, table=table):
        execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")


def validate_constraint(table: str, name: str) -> None:
    """Check the rows that were there before a constraint; one that is valid already is left alone by PostgreSQL."""
    execute("SET LOCAL statement_timeout = 0")  # the scan takes its time; its lock lets readers and writers pass
    execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def create_index_concurrently(name: str, table: str, definition: str) -> None:
    """Build an index beside live readers and writers.

    A build that failed leaves an invalid index, which every write pays for and no query uses: it is dropped first.
    """
    with op.get_context().autocommit_block(), _unhurried():
        invalid = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid)"
        if _exists(invalid, name=name):
            execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        # remit: allow invalid-index-passes because an invalid one was dropped just before, where there is a database
        execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {definition}")


def drop_index_concurrently(name: str) -> None:
    """Drop an index beside live readers and writers."""
    with op.get_context().autocommit_block(), _unhurried():
        execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def set_compatible_since(revision: str) -> None:
    """Say that only code of this revision or of a later one works with the schema from here on.

    For a revision that takes away what older code needs. Its `downgrade` names the revision that held before.
    """
    execute(f"UPDATE schema_compatibility SET compatible_since = '{revision}'")


def _exists(question: str, **values: str) -> bool:
    """The answer of the database; False when the revision is rendered as SQL, for a database that is not there."""
    return not op.get_context().as_sql and bool(op.get_bind().scalar(text(question), values))


@contextmanager
def _unhurried() -> Iterator[None]:
    """Outside a transaction, lift the time limits: a concurrent build waits for every transaction older than itself.

    The locks it holds meanwhile let readers and writers pass. Afterwards the next statement is bounded again.
    """
    limits = {name: _read_setting(name) for name in ("lock_timeout", "statement_timeout")}
    for name in limits:
        execute(f"SET {name} = 0")
    try:
        yield
    finally:
        for name, value in limits.items():
            execute(f"SET {name} = '{value}'")


def _read_setting(name: str) -> str:
    if op.get_context().as_sql:
        return TIME_LIMITS[name]
    return str(op.get_bind().scalar(text(f"SHOW {name}")))
