"""One migrator at a time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from remit.db.connect import connect
from remit.db.errors import MigrationError

_KEY = 0x52454D4954  # "REMIT"; one of the application's own 64-bit advisory lock keys, per database
_POLL_SECONDS = 0.2


@contextmanager
def hold_migration_lock(dsn: str, wait_seconds: float = 600.0) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Hold the database's migration lock on a connection of its own, which the block gets, in autocommit.

    It is polled in autocommit. A session that waits inside `pg_advisory_lock` keeps a snapshot while it waits; the
    holder's concurrent index build would wait for that snapshot, and the two would wait for each other.

    Raises MigrationError when another migrator still holds it after `wait_seconds`.
    """
    with connect(dsn) as connection:
        connection.autocommit = True
        connection.execute("SET idle_session_timeout = 0")
        connection.execute("SET statement_timeout = 0")
        deadline = time.monotonic() + wait_seconds
        while not _take(connection.execute("SELECT pg_try_advisory_lock(%s)", [_KEY]).fetchone()):
            if time.monotonic() > deadline:
                raise MigrationError(
                    f"another migration of this database has been running for {wait_seconds:.0f} seconds; wait for it, "
                    "or find its session in pg_stat_activity"
                )
            time.sleep(_POLL_SECONDS)
        yield connection


def _take(row: tuple[object, ...] | None) -> bool:
    return row is not None and row[0] is True
