"""Whether a database has the schema that this version needs."""

from remit.db.errors import DatabaseSetupError
from remit.migrations.run import current, head_revision


def check_current(dsn: str) -> None:
    """Do nothing if a database is at the newest revision.

    Raises:
        DatabaseSetupError: it is not; the message says what to run.
    """
    revision = current(dsn)
    if revision != head_revision():
        state = f"is at revision {revision}" if revision else "has no tables yet"
        raise DatabaseSetupError(f"the database {state} and this Remit needs {head_revision()}: run `remit db upgrade`")
