"""Runs a case and sees, statement by statement, which tables it locks and how many of their rows it handles."""

import threading
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from corpus_truth.case import Place
from remit.migrations.runner.guard import listen

MODES = (
    "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
    "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip
STRONG = frozenset(MODES[4:])
"""The modes that keep writers out."""

_LOCKS = "SELECT relation::bigint, mode, granted FROM pg_locks WHERE pid = %s"
_COUNTS = """
SELECT relid::bigint, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0), n_tup_ins + n_tup_upd + n_tup_del
FROM {view}
"""
_ENOUGH = 3  # a statement of a loop is looked at so many times

Counts = dict[int, tuple[int, int]]


@dataclass(frozen=True)
class Table:
    """A table, or a materialized view, which nobody but its owner writes."""

    name: str
    file: int | None
    view: bool


Tables = dict[int, Table]


@dataclass
class Seen:
    """One statement.

    Args:
        transaction: a number shared by the statements of one; None for one that is alone.
        locks: the strongest lock on each table that was there before, while it ran.
        read: the rows of such tables that it read, and `wrote` those that it wrote.
    """

    sql: str
    transaction: int | None
    locks: dict[str, str] = field(default_factory=dict)
    read: Counter[str] = field(default_factory=Counter)
    wrote: Counter[str] = field(default_factory=Counter)


@dataclass
class Run:
    """What was seen of a whole run."""

    statements: list[Seen] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    error: str = ""


def watch(place: Place) -> Run:
    """Upgrade the case and watch it; an error of the revision is part of what is seen."""
    run = Run()
    with place.server.connect(place.database) as observer:
        before = read_tables(observer)
        with _listen(_Watcher(place, observer, run)):
            try:
                place.upgrade()
            except Exception as error:  # noqa: BLE001 - whatever a revision raises is seen
                run.error = shorten_error(error)
        after = read_tables(observer)
    files = {table.name: table.file for table in after.values()}
    run.rewritten = sorted(table.name for table in before.values() if files.get(table.name, table.file) != table.file)
    return run


def shorten_error(error: BaseException) -> str:
    """The first line of what the server said."""
    original = getattr(error, "orig", None) or error
    return str(original).partition("\n")[0] or type(original).__name__


def read_tables(connection: Any) -> Tables:
    """The tables and materialized views, by oid."""
    rows = connection.execute(
        "SELECT oid::bigint, relname::text, pg_relation_filenode(oid)::bigint, relkind = 'm' FROM pg_class "
        "WHERE relkind IN ('r', 'p', 'm') AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"
    )
    return {oid: Table(name, file, view) for oid, name, file, view in rows}


class _Watcher:
    def __init__(self, place: Place, observer: Any, run: Run) -> None:
        self._place = place
        self._observer = observer
        self._tables = read_tables(observer)
        self._run = run
        self._transactions = 0
        self._known: Counter[tuple[int | None, str]] = Counter()
        self._before: Counts = {}
        self._alone: _Alone | None = None

    def before(self, connection: Any, statement: str) -> None:
        driver = connection.connection.driver_connection
        alone = bool(driver.autocommit)
        idle = driver.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if alone or idle:
            self._tables |= read_tables(self._observer)
        if not alone and idle:
            self._transactions += 1
        self._run.statements.append(Seen(statement, None if alone else self._transactions))
        if alone:
            self._before = _count(driver, "pg_stat_user_tables")
            self._alone = _Alone(self._place, driver.info.backend_pid, self._run.statements[-1], self._tables)
        elif self._known[self._transactions, statement] < _ENOUGH:
            # What an earlier transaction counted may be in the same view until the server takes it over.
            self._before = _count(driver, "pg_stat_xact_user_tables")

    def after(self, connection: Any) -> None:
        driver = connection.connection.driver_connection
        seen = self._run.statements[-1]
        if self._alone is not None:
            self._alone.end()
            self._alone = None
            self._note(seen, _count(driver, "pg_stat_user_tables"))
            return
        self._known[seen.transaction, seen.sql] += 1
        if (
            self._known[seen.transaction, seen.sql] <= _ENOUGH
            and driver.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        ):
            self._look(driver, seen)

    def commit(self, connection: Any) -> None:
        driver = connection.connection.driver_connection
        if self._run.statements and driver.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
            self._look(driver, self._run.statements[-1])

    def failed(self) -> None:
        if self._alone is not None:
            self._alone.end()
            self._alone = None

    def _look(self, driver: Any, seen: Seen) -> None:
        for oid, mode, _ in driver.execute(_LOCKS, [driver.info.backend_pid]).fetchall():
            note_lock(seen, self._tables.get(oid), mode)
        self._note(seen, _count(driver, "pg_stat_xact_user_tables"))

    def _note(self, seen: Seen, after: Counts) -> None:
        for oid, (read, wrote) in after.items():
            before = self._before.get(oid, (0, 0))
            if oid in self._tables:
                seen.read[self._tables[oid].name] += read - before[0]
                seen.wrote[self._tables[oid].name] += wrote - before[1]
        self._before = after


def note_lock(seen: Seen, table: Table | None, mode: str) -> None:
    """Keep the strongest; of a view only the one that stops its readers."""
    if table is not None and not (table.view and mode != MODES[-1]):
        seen.locks[table.name] = max(seen.locks.get(table.name, MODES[0]), mode, key=MODES.index)


def _count(driver: Any, view: str) -> Counts:
    if view == "pg_stat_user_tables":
        driver.execute("SELECT pg_stat_force_next_flush()")
    return {oid: (read, wrote) for oid, read, wrote in driver.execute(_COUNTS.format(view=view)).fetchall()}


class _Alone:
    """Watches a statement that releases its locks itself: an open write stands in its way until it waits."""

    def __init__(self, place: Place, pid: int, seen: Seen, tables: Tables) -> None:
        self._blocker = place.server.connect(place.database, autocommit=False)
        for table in tables.values():
            if not table.view:
                self._blocker.execute(f"LOCK TABLE {table.name} IN ROW EXCLUSIVE MODE".encode())
        self._blocker.execute("SELECT pg_current_xact_id()")
        self._observer = place.server.connect(place.database)
        self._pid, self._seen, self._tables = pid, seen, tables
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._observe)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self._blocker.close()
        self._observer.close()

    def _observe(self) -> None:
        while not self._ended.wait(0.002):
            rows = self._observer.execute(_LOCKS, [self._pid]).fetchall()
            for oid, mode, _ in rows:
                note_lock(self._seen, self._tables.get(oid), mode)
            if any(not granted for _, _, granted in rows):
                self._blocker.close()


def _listen(watcher: _Watcher) -> AbstractContextManager[None]:
    def before(connection: Any, _: object, statement: str, *__: object) -> None:
        if not _is_alembics(statement):
            watcher.before(connection, statement)

    def after(connection: Any, _: object, statement: str, *__: object) -> None:
        if not _is_alembics(statement):
            watcher.after(connection)

    def failed(_: object) -> None:
        watcher.failed()

    return listen(before_cursor_execute=before, after_cursor_execute=after, handle_error=failed, commit=watcher.commit)


def _is_alembics(statement: str) -> bool:
    return "alembic_version" in statement or "pg_catalog" in statement
