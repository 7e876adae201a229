"""Which revisions this version has, at which one a database is, and whether the two work together.

Every command and every server asks this when it starts, so it does without Alembic, whose loading takes longer than
most commands do.
"""

import logging
from functools import cache
from pathlib import Path

import psycopg

from remit.db.connect import connect
from remit.db.errors import DatabaseSetupError
from remit.migrations.compatibility import find_problem, read_compatible_since

logger = logging.getLogger(__name__)

_VERSIONS = Path(__file__).parent / "versions"


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions of this version, oldest first: the numbers that the names of their files begin with."""
    return tuple(sorted(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*.py")))


def head_revision() -> str:
    """The revision that this code expects of a database."""
    return known_revisions()[-1]


def current(dsn: str) -> str | None:
    """The revision a database is at; None when it was never migrated.

    Raises:
        DatabaseSetupError: it cannot be reached, or is at several revisions at once, which no Remit leaves behind.
    """
    with connect(dsn) as connection:
        try:
            rows = connection.execute(b"SELECT version_num FROM alembic_version").fetchall()
        except psycopg.errors.UndefinedTable:
            return None
    if len(rows) > 1:
        found = ", ".join(sorted(str(row[0]) for row in rows))
        raise DatabaseSetupError(f"the database is at several revisions at once ({found}): restore a backup of it")
    return str(rows[0][0]) if rows else None


def examine(dsn: str) -> tuple[str | None, str | None]:
    """The revision that a database is at, and what keeps this version from it; None if nothing does."""
    revision = current(dsn)
    newer = revision is not None and revision not in known_revisions()
    return revision, find_problem(known_revisions(), revision, read_compatible_since(dsn) if newer else None)


def check_revision(dsn: str) -> None:
    """Do nothing if this version works with a database.

    Raises:
        DatabaseSetupError: it does not; the message says what to run.
    """
    revision, problem = examine(dsn)
    if problem is not None:
        raise DatabaseSetupError(problem)
    if revision != head_revision():
        logger.info("the database is at revision %s of a newer version, with which this one works", revision)
