"""The runner's own connection: it holds the lock, sees who blocks whom, and looks at what is left behind."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors, sql

from remit.db.errors import MigrationError
from remit.migrations.lock import hold_migration_lock
from remit.migrations.runner.model import Blocker, Limits, Tell
from remit.migrations.runner.sql import shorten

_BLOCKERS = """
SELECT a.pid, concat_ws(', ', nullif(a.application_name, ''), a.usename, a.state,
                        'transaction open for ' || round(extract(epoch FROM clock_timestamp() - a.xact_start)) || ' s'),
       coalesce(nullif(a.query, ''), '(a query that this role may not see)')
FROM unnest(pg_blocking_pids(%s)) AS b (pid) JOIN pg_stat_activity a USING (pid) ORDER BY a.xact_start, a.pid
"""

_INVALID = """
SELECT format('%I.%I', n.nspname, c.relname), i.indrelid::regclass::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND n.nspname NOT IN ('pg_catalog', 'pg_toast')
  AND NOT EXISTS (
    SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid AND p.datname = current_database())
ORDER BY 1
"""

_DEFINITIONS = """
SELECT pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE i.indisvalid AND c.relname = %s AND t.relname = %s AND (n.nspname = %s OR %s::text IS NULL)
"""

# A constraint that is NOT ENFORCED (18 on) is never valid, on purpose.
_UNVALIDATED = """
SELECT k.conname, k.conrelid::regclass::text
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
WHERE NOT k.convalidated AND k.conrelid <> 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true'
ORDER BY 2, 1
"""

_SESSIONS = 0x52454D4954_01
"""An advisory lock that every session of a migration shares, beside the one that its runner has for itself."""

_ORPHANS = """
SELECT a.pid, concat_ws(', ', nullif(a.application_name, ''), a.usename, a.state),
       coalesce(nullif(a.query, ''), '(a query that this role may not see)')
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.mode = 'ShareLock' AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32) + l.objid::bigint = %s
ORDER BY a.pid
"""

MARK_SESSION = f"SELECT pg_try_advisory_lock_shared({_SESSIONS})"
"""Marks a session as one of a migration, until it ends."""

END_WITH_CLIENT = "SET SESSION client_connection_check_interval = '1s'"
"""Ends what a session runs once its client is gone; not every server's system can tell."""

_POLL_SECONDS = 0.1
_SECONDS_TO_LEAVE = 0.5

IDENTITY = "SELECT pg_backend_pid(), current_database() || ' ' || pg_postmaster_start_time()"


class Control:
    """A connection in autocommit that two threads may use."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._mutex = threading.Lock()
        self.lost: str | None = None

    @classmethod
    @contextmanager
    def open(cls, dsn: str, limits: Limits, tell: Tell) -> Iterator["Control"]:
        """Wait for the migration lock and hold it.

        Raises:
            MigrationError: another migrator has it for too long.
            DatabaseSetupError: there is no connection to be had.
        """
        with hold_migration_lock(dsn, limits.turn) as connection:
            control = cls(connection)
            control._wait_for_orphans(limits.turn, tell)
            yield control

    def _wait_for_orphans(self, seconds: float, tell: Tell) -> None:
        """Wait until what a killed migrator had sent is over: the server goes on with it, and nobody holds the lock."""
        began, told = time.monotonic(), False
        while orphans := [Blocker(pid, about, shorten(query)) for pid, about, query in self._ask(_ORPHANS, _SESSIONS)]:
            if time.monotonic() > began + seconds:
                raise MigrationError(
                    f"a migrator that is gone left a session that is still at work, {orphans[0]}; wait for it, or end "
                    f"it with SELECT pg_terminate_backend({orphans[0].pid})"
                )
            if not told and time.monotonic() > began + _SECONDS_TO_LEAVE:
                tell("waiting for what an interrupted migrator left running")
                for orphan in orphans:
                    tell(f"  {orphan}")
                told = True
            time.sleep(_POLL_SECONDS)

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._mutex:
                return self._connection.execute(question.encode(), values or None).fetchall()
        except psycopg.OperationalError as error:
            if self._connection.broken:
                self.lost = shorten(str(error))
            raise

    def check_alive(self) -> None:
        """Raise MigrationError once the connection is gone, and the lock with it: another migrator may run."""
        if self.lost is not None:
            raise MigrationError(
                f"the connection that keeps other migrators out was lost ({self.lost}); run `remit db upgrade` again"
            )

    def identify(self) -> str:
        """The server and the database, as `IDENTITY` names them."""
        return str(self._ask(IDENTITY)[0][1])

    def find_blockers(self, pid: int) -> list[Blocker]:
        """The sessions that a session waits for."""
        return [Blocker(pid, about, shorten(query)) for pid, about, query in self._ask(_BLOCKERS, pid)]

    def find_invalid_indexes(self) -> dict[str, str]:
        """The indexes that nobody builds and no query uses, with their tables."""
        return dict(self._ask(_INVALID))

    def find_definitions(self, index: str, table: str, schema: str | None) -> list[str]:
        """What the valid indexes of this name on tables of this name are; in any schema where none is named."""
        return [definition for (definition,) in self._ask(_DEFINITIONS, index, table, schema, schema)]

    def find_unvalidated(self) -> list[tuple[str, str]]:
        """The constraints that old rows may break: name and table."""
        return [(name, table) for name, table in self._ask(_UNVALIDATED)]

    def read_heads(self, table: str, schema: str | None) -> tuple[str, ...]:
        """The revisions that Alembic's table names; none when there is no table."""
        name = sql.Identifier(schema, table) if schema else sql.Identifier(table)
        query = sql.SQL("SELECT version_num FROM {}").format(name)
        try:
            with self._mutex:
                return tuple(sorted(row[0] for row in self._connection.execute(query)))
        except errors.UndefinedTable:
            return ()

    def drop_index(self, name: str, limits: Limits) -> bool:
        """Drop an invalid index beside readers and writers; False when it did not get the lock in time."""
        if name not in self.find_invalid_indexes():
            return True
        parts: Sequence[tuple[Any, ...]] = self._ask("SELECT parse_ident(%s)", name)
        statement = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(*parts[0][0]))
        with self._mutex:
            self._connection.execute(sql.SQL("SET lock_timeout = {}").format(round(limits.lock_timeout * 1000)))
            try:
                self._connection.execute(statement)
            except (errors.LockNotAvailable, errors.DeadlockDetected):
                return False
            finally:
                self._connection.execute("SET lock_timeout = 0")
        return True
