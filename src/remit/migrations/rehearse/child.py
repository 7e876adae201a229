"""Runs in the migrator's own process: the project's env.py online, as Alembic would, with every statement told.

Nothing here decides anything. The parent is told before and after each statement of the revision and, where it asked
for that, answers before it goes on. A failure is told with whether it is the last statement's or that of the revision's
own code.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from remit.migrations.lint.render import describe
from remit.migrations.project_config import FOLDER, read_config
from remit.migrations.rehearse.redirect import redirect
from remit.migrations.rehearse.sent import is_catalog_query, must_be_alone, show, split

KILLED = 86
"""The exit code of a process that ended itself as it was told to."""


@dataclass(frozen=True)
class Order:
    """What to run and how.

    Args:
        config_file: the project's alembic.ini.
        dsn: the scratch database.
        target: the revision to reach.
        environment: variables to set, since env.py may read its URL from one.
        watch: whether to tell of the statements of the last revision.
        handshake: wait for an answer after each message.
        trace: tell which tables were written anew, and keep each statement's locks until the parent has looked.
        end_after: end the process after so many statements; 0 does so before the first.
        skipped: texts that are known to be questions about the catalog, and `parts` what others consist of: nothing
            has to be parsed then while locks are held.
    """

    config_file: str
    dsn: str
    target: str
    environment: dict[str, str] = field(default_factory=dict)
    watch: bool = True
    handshake: bool = False
    trace: bool = False
    end_after: int | None = None
    skipped: frozenset[str] = frozenset()
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def run(order: Order, pipe: Pipe) -> None:
    """Obey an order; the last message is `done` or `failed`."""
    os.environ.update(order.environment)
    logging.disable(logging.INFO)
    watcher = _Watcher(order, pipe)
    sys.stdout = sys.stderr
    try:
        redirect(order.dsn)
        if order.watch:
            watcher.listen()
        _upgrade(order, watcher)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is told
        text = describe(getattr(error, "orig", None) or error)
        pipe.send(("failed", time.monotonic(), text, watcher.name_failed()))
    else:
        pipe.send(("done", time.monotonic()))


def _upgrade(order: Order, watcher: "_Watcher") -> None:
    config = read_config(Path(order.config_file))
    os.chdir(config.attributes.get(FOLDER, "."))
    url = order.environment.get("SQLALCHEMY_URL", order.dsn)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    script = ScriptDirectory.from_config(config)

    ran = False

    def find_steps(current: Any, _: Any) -> Any:
        nonlocal ran
        ran = True
        steps = script._upgrade_revs(order.target, current)
        for step in steps[-1:]:
            step.migration_fn = watcher.wrap(step.migration_fn)
        return steps

    try:
        with EnvironmentContext(config, script, fn=find_steps, destination_rev=order.target):
            script.run_env()
    except CommandError as error:
        raise RuntimeError(" ".join(str(error).split())) from error
    if not ran:
        raise RuntimeError("env.py ran no migrations: its online branch must connect and call run_migrations()")


@dataclass(frozen=True)
class _File:
    """Where a table or an index lies, and how large the table is."""

    name: str
    number: int
    table_bytes: int


class _Watcher:
    """Tells the parent what is sent to the database while the revision runs."""

    def __init__(self, order: Order, pipe: Pipe) -> None:
        self._order = order
        self._pipe = pipe
        self._running = False
        self._number = 0
        self._in_statement: int | None = None
        self._question: str | None = None
        self._first_files: dict[int, _File] | None = None
        self._files: dict[int, _File] = {}
        self._wrapped = False

    def wrap(self, migrate: Any) -> Any:
        """The revision's function, with its beginning and its end told."""

        def watched(**arguments: Any) -> None:
            self._running = True
            try:
                migrate(**arguments)
            finally:
                self._running = False
            self._tell("ran", time.monotonic())

        return watched if self._order.watch else migrate

    def name_failed(self) -> bool:
        """Whether the run failed in a statement. A question about the catalog is told only now that it failed."""
        if self._question is not None:
            self._pipe.send(("before", time.monotonic(), self._number, self._question, self._question, False, None))
        return self._question is not None or self._in_statement is not None

    def listen(self) -> None:
        """Attach to every engine of the process."""
        event.listen(Pool, "connect", self._connected)
        event.listen(Engine, "before_cursor_execute", self._before, retval=True)
        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "commit", self._commit)

    def _connected(self, connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        record.info["pid"] = cursor.fetchone()[0]
        cursor.close()
        connection.rollback()

    def _before(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        plain = bool(context is not None and context.execution_options.get("no_parameters")) and not parameters
        if not self._running or statement in self._order.skipped:
            return statement, parameters
        known = self._order.parts.get(statement)
        if known is None and is_catalog_query(show(statement, context, connection.dialect, plain=plain)):
            self._pipe.send(("skipped", statement))
            self._question = show(statement, context, connection.dialect, plain=plain)
            return statement, parameters
        alone = _is_autocommit(connection)
        parts = known or ([statement] if parameters or alone or many else split(statement))
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            text = part if known else show(part, context if last else None, connection.dialect, plain=plain)
            self._begin(connection, text, part, alone)
            if not last:
                cursor.execute(part) if plain else cursor.execute(part, parameters)
                self._end(connection)
        if known is None:
            self._pipe.send(("parts", statement, tuple(parts)))
        return parts[-1], parameters

    def _after(self, connection: Any, *_: Any) -> None:
        self._question = None
        if self._in_statement is not None:
            self._end(connection)

    def _commit(self, _: Any) -> None:
        if self._running or self._number:
            self._pipe.send(("commit", time.monotonic()))

    def _begin(self, connection: Any, sql: str, shape: str, alone: bool) -> None:
        if self._order.end_after == self._number:
            self._end_process()
        wrapped = self._order.trace and alone and not must_be_alone(sql)
        if self._order.trace:
            self._files = self._read_files(connection)
            if self._first_files is None:
                self._first_files = self._files
        if wrapped:
            self._run_aside(connection, "BEGIN")
        self._wrapped = wrapped
        self._in_statement = self._number
        self._tell("before", time.monotonic(), self._number, sql, shape, alone, connection.info.get("pid"))

    def _end(self, connection: Any) -> None:
        now = time.monotonic()
        number, self._in_statement = self._in_statement, None
        rewritten, emptied = self._find_rewritten(connection) if self._order.trace else ([], [])
        self._number += 1
        self._tell("after", now, number, rewritten, emptied)
        if self._wrapped:
            self._run_aside(connection, "COMMIT")
        if self._order.end_after == self._number:
            self._end_process()

    def _end_process(self) -> None:
        self._pipe.send(("killed", time.monotonic()))
        self._pipe.close()
        os._exit(KILLED)

    def _tell(self, *message: Any) -> None:
        self._pipe.send(message)
        if self._order.handshake:
            self._pipe.recv()

    def _run_aside(self, connection: Any, sql: str) -> None:
        with _open_cursor(connection) as cursor:
            cursor.execute(sql)

    def _read_files(self, connection: Any) -> dict[int, _File]:
        with _open_cursor(connection) as cursor:
            cursor.execute(
                "SELECT oid::bigint, oid::regclass::text, pg_relation_filenode(oid)::bigint, "
                "pg_relation_size(coalesce(indrelid, oid)) FROM pg_class LEFT JOIN pg_index ON indexrelid = oid "
                "WHERE relkind IN ('r', 'i', 'm') AND relnamespace NOT IN ('pg_catalog'::regnamespace, "
                "'pg_toast'::regnamespace, 'information_schema'::regnamespace)"
            )
            return {oid: _File(*rest) for oid, *rest in cursor.fetchall()}

    def _find_rewritten(self, connection: Any) -> tuple[list[str], list[str]]:
        """The relations of before the revision that have another file now, and those of tables that have no rows in it.

        An index may be another one of that name.
        """
        first = self._first_files or {}
        named = {old.name: old.number for oid, old in self._files.items() if oid in first}

        def read_old(oid: int, file: _File) -> int:
            if oid in self._files:
                return self._files[oid].number if oid in first else file.number
            return named.get(file.name, file.number)

        changed = [file for oid, file in self._read_files(connection).items() if read_old(oid, file) != file.number]
        return (
            sorted(file.name for file in changed if file.table_bytes),
            sorted(file.name for file in changed if not file.table_bytes),
        )


@contextlib.contextmanager
def _open_cursor(connection: Any) -> Iterator[Any]:
    cursor = connection.connection.cursor()
    try:
        yield cursor
    finally:
        cursor.close()


def _is_autocommit(connection: Any) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))
