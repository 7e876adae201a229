"""Which versions work with which schema.

During a rolling deployment the database is ahead of the servers that are still to be replaced. They go on as long as
the schema is one with which their code works: the table `schema_compatibility` names the oldest revision whose code
does, and a revision that takes away what older code needs moves it on. No version runs on a schema older than its own.
"""

from collections.abc import Sequence

import psycopg

from remit.db.connect import connect

COMPATIBLE_SINCE = "SELECT compatible_since FROM schema_compatibility"
"""Asked only of a database at a revision that this version does not know: it has the table then."""


def find_problem(known: Sequence[str], revision: str | None, compatible_since: str | None) -> str | None:
    """What keeps a version from a database, and what to do about it; None if nothing does.

    Args:
        known: the version's revisions, oldest first.
        revision: the one that the database is at.
        compatible_since: the oldest one whose code works with it, where the version does not know `revision`.
    """
    if revision == known[-1]:
        return None
    if revision is None or revision in known:
        state = f"is at revision {revision}" if revision else "has no tables yet"
        return f"the database {state} and this Remit needs {known[-1]}: run `remit db upgrade`"
    if compatible_since in known:
        return None
    return (
        f"the database is at revision {revision}, which this version does not know, and only works with versions since "
        f"revision {compatible_since or revision}; this one ends at {known[-1]}: run a newer version"
    )


def read_compatible_since(dsn: str) -> str | None:
    """The oldest revision whose code works with a database; None where it does not tell."""
    with connect(dsn) as connection:
        try:
            row = connection.execute(COMPATIBLE_SINCE.encode()).fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return None if row is None else str(row[0])
