"""Between SQLAlchemy and the driver: each statement that takes locks waits for a short time, and is tried again."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from remit.migrations.runner.control import END_WITH_CLIENT, MARK_SESSION, Control
from remit.migrations.runner.done import find_done
from remit.migrations.runner.model import Blocker, Limits, LockedError, Tell
from remit.migrations.runner.sql import find_built_index, is_patient, shorten, takes_lock
from remit.migrations.runner.watch import Watcher

_NO_LOCK = {"55P03": "got no lock", "40P01": "was the victim of a deadlock"}
_NOT_IN_TRANSACTION = "25P01"
_SAVEPOINT = "remit_step"
_STRONG = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")


class AgainError(Exception):
    """The transaction was given up, since it held locks that others wait for: its revision starts again."""


class Guard:
    """Runs the statements of a migration.

    Args:
        control: the runner's own connection.
        watcher: sees the blockers.
        limits: how long to wait and how often to try.
        tell: receives what happens.
    """

    def __init__(self, control: Control, watcher: Watcher, limits: Limits, tell: Tell) -> None:
        self._control = control
        self._watcher = watcher
        self._limits = limits
        self._tell = tell
        self._ours = round(limits.lock_timeout * 1000)
        self._tries: dict[str, int] = {}
        self._committed: str | None = None
        self._sessions: list[tuple[Any, int]] = []
        self.revision: str | None = None
        self.earlier: tuple[Path, ...] = ()

    def add(self, connection: Connection, pid: int) -> None:
        """Stand before this connection, which is the server's process `pid`.

        Its session gets our limit where it has none, so that no statement waits without end, whatever it hides. When
        this process is killed its statement ends too, and the next migrator knows whose it was until then.
        """
        self._sessions.append((connection.connection.dbapi_connection, pid))
        try:
            _send(connection, END_WITH_CLIENT)
        except Exception:  # noqa: BLE001 - the server's system cannot tell, by whatever driver
            connection.connection.rollback()
        _send(connection, MARK_SESSION)
        if self._read_limit(connection) == 0:
            _send(connection, f"SET SESSION lock_timeout = {self._ours}")
        connection.connection.commit()

    def listening(self) -> AbstractContextManager[None]:
        """Stand between every engine of this process and its driver."""
        return listen(do_execute=self.execute, do_execute_no_params=self.execute_plain)

    def execute_plain(self, cursor: Any, statement: str, context: Any) -> bool | None:
        """`execute` for a statement without parameters."""
        return self.execute(cursor, statement, None, context)

    def execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
        """Run a statement for SQLAlchemy; None leaves one of another connection to SQLAlchemy.

        Raises:
            AgainError: the revision has to start again.
            LockedError: the statement was tried often enough.
            MigrationError: the runner's lock is lost.
        """
        connection: Connection = context.root_connection
        mine = connection.connection.dbapi_connection
        pid = next((pid for known, pid in self._sessions if known is mine), None)
        if pid is None:
            return None
        self._control.check_alive()
        if not takes_lock(statement):
            self._run_once(cursor, statement, parameters, context, pid)
            return True
        while True:
            inside = self._enter(connection)
            if not inside:
                self._committed = self.revision
            what: str | None = "waits for an invalid index to go"
            if self._prepare_build(statement):
                what = self._attempt(connection, cursor, statement, parameters, context, pid, inside=inside)
            if what is None:
                self._tries.pop(statement, None)
                return True
            self._wait(connection, statement, what, inside=inside)

    def _attempt(
        self,
        connection: Connection,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        pid: int,
        *,
        inside: bool,
    ) -> str | None:
        """Run the statement within its limit; what went wrong if it got no lock."""
        known = set(self._control.find_invalid_indexes()) if is_patient(statement) else None
        limit = self._read_limit(connection)
        # A build beside writers waits for transactions that are older: only the project's own limit holds for it.
        unlimited = 0 if limit == self._ours else limit
        wanted = unlimited if is_patient(statement) else self._choose(limit)
        self._set_limit(connection, limit, wanted, local=inside)
        try:
            with self._watcher.watch(pid, statement, wanted / 1000):
                _run(cursor, statement, parameters, context)
        except Exception as error:
            if inside:
                _send(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            self._set_limit(connection, wanted, limit, local=inside)
            self._clean(statement, known)
            state = find_state(error)
            what = _NO_LOCK.get(state or "")
            if what is None:
                done = None if inside else find_done(self._control, statement, state, self.earlier)
                if done is None:
                    raise
                self._tell(f"  {done}, by an interrupted run: {shorten(statement)}")
            return what
        if inside:
            _send(connection, f"RELEASE SAVEPOINT {_SAVEPOINT}")
        self._set_limit(connection, wanted, limit, local=inside)
        return None

    def _run_once(self, cursor: Any, statement: str, parameters: Any, context: Any, pid: int) -> None:
        """Run one of perhaps many statements, without a savepoint: when it gets no lock, its revision starts again.

        Outside a transaction nothing has to be undone, and it alone is tried again.
        """
        while True:
            try:
                with self._watcher.watch(pid, statement, self._limits.lock_timeout):
                    _run(cursor, statement, parameters, context)
            except Exception as error:
                what = _NO_LOCK.get(find_state(error) or "")
                if what is None:
                    raise
                if _is_in_autocommit(context.root_connection):
                    time.sleep(self._announce(statement, what, "trying again"))
                    continue
                if self._committed == self.revision:
                    raise
                raise AgainError(str(self._announce(statement, what, "starting the revision again"))) from error
            self._tries.pop(statement, None)
            return

    def _choose(self, limit: float) -> float:
        return min(limit, self._ours) if limit > 0 else self._ours

    def _wait(self, connection: Connection, statement: str, what: str, *, inside: bool) -> None:
        """After a failed attempt: say who was in the way, and pause or give up."""
        again = inside and self._committed != self.revision and self._holds_strong_locks(connection)
        pause = self._announce(statement, what, "starting the revision again" if again else "trying again")
        if again:
            raise AgainError(str(pause))
        time.sleep(pause)

    def _announce(self, statement: str, what: str, way: str) -> float:
        """Say what happened and what follows; how long to pause, in seconds."""
        number = self._tries[statement] = self._tries.get(statement, 0) + 1
        blockers = self._watcher.blockers
        self._tell(f"  {what}: {shorten(statement)}")
        for blocker in blockers:
            self._tell(f"    blocked by {blocker}")
        if number >= self._limits.attempts:
            raise LockedError(_explain(self.revision, statement, number, blockers))
        longest: float = min(self._limits.pause * 2 ** (number - 1), self._limits.longest_pause)
        pause = longest * random.uniform(0.5, 1.5)  # noqa: S311 - two that wait for each other get out of step
        self._tell(f"  {way} in {pause:.1f} s (attempt {number + 1} of {self._limits.attempts})")
        return pause

    def _enter(self, connection: Connection) -> bool:
        """Mark the place to come back to; False outside a transaction, where nothing has to be undone."""
        try:
            _send(connection, f"SAVEPOINT {_SAVEPOINT}")
        except Exception as error:
            if find_state(error) == _NOT_IN_TRANSACTION:
                return False
            raise
        return True

    def _read_limit(self, connection: Connection) -> float:
        [(value,)] = _send(connection, "SELECT setting FROM pg_settings WHERE name = 'lock_timeout'")
        return float(value)

    def _set_limit(self, connection: Connection, now: float, wanted: float, *, local: bool) -> None:
        if now != wanted:
            scope = "LOCAL" if local else "SESSION"
            _send(connection, f"SET {scope} lock_timeout = {round(wanted)}")

    def _holds_strong_locks(self, connection: Connection) -> bool:
        modes = ", ".join(f"'{mode}'" for mode in _STRONG)
        return bool(
            _send(
                connection,
                "SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted "
                f"AND mode IN ({modes}) LIMIT 1",
            )
        )

    def _prepare_build(self, statement: str) -> bool:
        """Before a concurrent build, drop what a failed one left under its name; False when that got no lock."""
        name = find_built_index(statement)
        if name is None:
            return True
        left = [found for found in self._control.find_invalid_indexes() if _last(found) == _last(name)]
        return all(self._drop(found) for found in left)

    def _clean(self, statement: str, known: set[str] | None) -> None:
        """After a concurrent build that failed: drop the invalid index that it left."""
        if known is None or self._control.lost is not None:
            return
        for found in self._control.find_invalid_indexes():
            if found not in known and _last(found) in statement:
                self._drop(found)

    def _drop(self, name: str) -> bool:
        done = self._control.drop_index(name, self._limits)
        self._tell(f"  {'dropped' if done else 'could not drop'} the invalid index {name} that a failed build left")
        return done


@contextmanager
def listen(**handlers: Callable[..., Any]) -> Iterator[None]:
    """Call handlers at the events of this process's engines that they are named for, as long as the block lasts."""
    for name, handler in handlers.items():
        event.listen(Engine, name, handler)
    try:
        yield
    finally:
        for name, handler in handlers.items():
            event.remove(Engine, name, handler)


def _run(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
    if parameters is None:
        context.dialect.do_execute_no_params(cursor, statement, context)
    else:
        context.dialect.do_execute(cursor, statement, parameters, context)


def _explain(revision: str | None, statement: str, number: int, blockers: list[Blocker]) -> str:
    who = "; ".join(str(blocker) for blocker in blockers[:3]) or "nobody was seen in the way; look at pg_stat_activity"
    return (
        f"revision {revision} stopped: `{shorten(statement, 80)}` got no lock in {number} attempts. In the way: {who}. "
        "End those transactions or wait for them, then run `remit db upgrade` again: what is done stays done"
    )


def _is_in_autocommit(connection: Connection) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))


def _last(name: str) -> str:
    return name.rpartition(".")[2].strip('"')


def _send(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    """Send a statement of the runner's own, beside SQLAlchemy's events."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        cursor.close()


def find_state(error: BaseException | None) -> str | None:
    """PostgreSQL's code of an error, from whatever driver: in the error itself or in what it was raised from."""
    while error is not None:
        for name in ("sqlstate", "pgcode"):
            value = getattr(error, name, None)
            if isinstance(value, str):
                return value
        if error.args and isinstance(error.args[0], dict):  # pg8000
            return str(error.args[0].get("C"))
        error = getattr(error, "orig", None) or error.__cause__
    return None
