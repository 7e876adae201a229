"""A slow run in which each statement is looked at: exactly which locks it takes, and what it writes anew."""

import time
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from remit.migrations.rehearse.catalog import list_relations
from remit.migrations.rehearse.child import Order
from remit.migrations.rehearse.migrator import WAITED_FOR, Message, Migrator, start
from remit.migrations.rehearse.sent import must_be_alone
from remit.migrations.rehearse.server import Connection, ScratchServer

STRONG = (
    "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip
_SECONDS_ON_FEW_ROWS = 90.0
_SECONDS_TO_BLOCK = 1
_LADDER = ("SHARE UPDATE EXCLUSIVE", "ACCESS EXCLUSIVE")

Lock = tuple[str, str]
"""A relation's name and a mode."""


@dataclass
class TracedStatement:
    """What one statement did.

    Args:
        taken: the locks that it took, and `inherited` those that earlier ones of its transaction hold.
        autocommit: whether it is a transaction of its own.
    """

    sql: str
    shape: str
    autocommit: bool
    taken: set[Lock] = field(default_factory=set)
    inherited: set[Lock] = field(default_factory=set)
    rewritten: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)


@dataclass
class Trace:
    """All statements of a revision.

    Args:
        touched: the relations that it locked, by oid.
        error: what it failed with; `failed_in_statement` unless the revision's own code did;
            `hung` if it had to be ended.
        skipped: texts that only ask about the catalog, and `parts` the statements of each other text.
    """

    statements: list[TracedStatement] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    error: str | None = None
    failed_in_statement: bool = False
    hung: bool = False


class Relations:
    """The tables and indexes that were there before a revision, and which of their locks matter."""

    def __init__(self, connection: Connection) -> None:
        rows = connection.execute(
            "SELECT attrelid::bigint FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped GROUP BY attrelid "
            "HAVING array_agg(attname::text) = ARRAY['version_num']"
        )
        own = {oid for (oid,) in rows}  # Alembic's table of versions
        self.names = {oid: name for oid, name in list_relations(connection).items() if oid not in own}
        rows = connection.execute("SELECT oid::bigint FROM pg_class WHERE relkind IN ('i', 'I')")
        self._indexes = {oid for (oid,) in rows}

    def name(self, oid: int, mode: str) -> Lock | None:
        """The lock for people; None where it stops nobody or is on something new."""
        if oid not in self.names or (oid in self._indexes and mode not in STRONG):
            return None
        return self.names[oid], mode


def trace(server: ScratchServer, database: str, order: Order) -> Trace:
    """Run a revision in a database of its own and look at each statement.

    Args:
        server: where the database is.
        database: not used again.
        order: with `handshake` and `trace`.
    """
    with server.connect(database) as connection, start(order) as migrator:
        return _Tracer(server, database, connection, migrator).run()


class _Tracer:
    def __init__(self, server: ScratchServer, database: str, connection: Connection, migrator: Migrator) -> None:
        self._server = server
        self._database = database
        self._connection = connection
        self._migrator = migrator
        self._relations = Relations(connection)
        self._found = Trace()
        self._pid = 0
        self._blocker: Connection | None = None
        self._ways = 0
        self._deadline = time.monotonic() + _SECONDS_ON_FEW_ROWS

    def run(self) -> Trace:
        before: set[Lock] = set()
        while True:
            message = self._receive()
            match message:
                case ("before", _, _, sql, shape, autocommit, pid):
                    self._unblock()  # of one that failed, and whose failure the revision caught
                    self._pid = pid or self._pid
                    before, _ = self._look()
                    self._found.statements.append(TracedStatement(sql, shape, autocommit, inherited=before))
                    if autocommit and must_be_alone(sql):
                        self._block()
                case ("after", _, _, rewritten, emptied):
                    self._unblock()
                    self._found.statements[-1].rewritten = rewritten
                    self._found.statements[-1].emptied = emptied
                    self._note(self._look()[0])
                case ("skipped", text):
                    self._found.skipped.add(text)
                case ("parts", text, parts):
                    self._found.parts[text] = parts
                case ("failed", _, error, in_statement):
                    self._unblock()
                    self._found.error, self._found.failed_in_statement = str(error), bool(in_statement)
                    return self._found
                case ("done", _) | ("killed", _):
                    return self._found
            if message[0] in WAITED_FOR:
                self._migrator.go_on()

    def _receive(self) -> Message:
        """The next message; until it comes, the locks of a statement that releases them itself are looked at."""
        while time.monotonic() < self._deadline:
            message = self._migrator.receive(0.005)
            if message is not None:
                return message
            if self._found.statements:
                locks, waits = self._look()
                self._note(locks)
                if waits and self._blocker is not None and self._ways:
                    self._step_aside(self._blocker)
                elif waits:
                    self._unblock()
        self._migrator.kill()
        self._found.hung = True
        text = (
            f"it did not end within {_SECONDS_ON_FEW_ROWS:.0f} seconds on few rows: does its loop end, or does it wait?"
        )
        return ("failed", time.monotonic(), text, True)

    def _note(self, locks: set[Lock]) -> None:
        last = self._found.statements[-1]
        last.taken |= locks - last.inherited

    def _look(self) -> tuple[set[Lock], bool]:
        rows = self._connection.execute(
            "SELECT relation::bigint, mode, granted FROM pg_locks WHERE pid = %s", [self._pid]
        ).fetchall()
        locks = set()
        for oid, mode, _ in rows:
            lock = self._relations.name(oid, mode) if oid is not None else None
            if lock is not None:
                locks.add(lock)
                self._found.touched.add(oid)
        return locks, any(not granted for _, _, granted in rows)

    def _block(self) -> None:
        """Stand in the way of a statement that releases its locks itself, so that each can be seen.

        The tables are held against everything, and whenever it waits, against less. Last they are held as by an open
        write, for which a concurrent build waits.
        """
        blocker = self._server.connect(self._database, autocommit=False)
        lock_tables(blocker)
        blocker.execute(f"SET LOCAL lock_timeout = '{_SECONDS_TO_BLOCK}s'".encode())
        self._ways = 0
        try:
            for mode in _LADDER:
                blocker.execute(f"SAVEPOINT way_{self._ways}".encode())
                self._ways += 1
                lock_tables(blocker, mode)
        except psycopg.errors.LockNotAvailable:
            self._step_aside(blocker)
        self._blocker = blocker

    def _step_aside(self, blocker: Connection) -> None:
        self._ways -= 1
        blocker.execute(f"ROLLBACK TO SAVEPOINT way_{self._ways}".encode())

    def _unblock(self) -> None:
        blocker, self._blocker = self._blocker, None
        if blocker is not None:
            with suppress(psycopg.Error):
                blocker.close()


def lock_tables(blocker: Connection, mode: str = "ROW EXCLUSIVE") -> None:
    """Hold a lock on every table; by default what an open write holds."""
    tables = blocker.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relpersistence <> 't' "
        "AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    ).fetchall()
    if tables:
        blocker.execute(f"LOCK TABLE {', '.join(name for (name,) in tables)} IN {mode} MODE".encode())
