"""Runs a project's env.py in Alembic's offline mode, revision by revision, and keeps what each would send."""

import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Engine

from remit.migrations.lint.batches import noting_batches
from remit.migrations.lint.bind import RecordingBind, render_sql
from remit.migrations.lint.errors import LintError, TookTooLongError
from remit.migrations.lint.frames import find_sites, is_library
from remit.migrations.lint.model import Direction, Event

_BOUNDARIES = ("BEGIN;", "COMMIT;")
_SECONDS = 60.0  # a history of some hundred revisions takes a few


@dataclass
class Rendering:
    """What a run of env.py would send.

    Args:
        events: in the order of sending.
        failed: what a revision raised that cannot be rendered, by its id.
        options: what env.py gave to `context.configure`.
        starts: for each revision, how many events there were before it.
    """

    events: list[Event] = field(default_factory=list)
    failed: dict[str, BaseException] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)


class _Recorder:
    """Receives what Alembic would write, with the revision that is being run."""

    def __init__(self) -> None:
        self.rendering = Rendering()
        self.revision: str | None = None
        self.started = False
        self._online = False
        self._asked = False
        self._seen: set[object] = set()

    def record(self, sql: str) -> None:
        if self.revision is None and self.started and sql not in _BOUNDARIES:
            return  # Alembic's own table of versions
        self.rendering.events.append(Event(self.revision, sql, find_sites()))

    def execute(self, construct: Any, _: Any = None, multiparams: Any = None, params: Any = None) -> None:
        self.record(render_sql(construct, multiparams or params) + ";")

    def count_rows(self) -> int:
        """One row for the first time that a line asks, none afterwards: a loop that runs until nothing is left ends."""
        sites = find_sites()
        first = sites not in self._seen
        self._seen.add(sites)
        return int(first)

    def is_offline(self) -> bool:
        """What a revision is told that asks whether it is rendered."""
        self._asked = self._asked or self.revision is not None
        return not self._online

    def run(self, revision: str, migrate: Callable[..., None], **arguments: Any) -> None:
        """Render a revision. One that does something else offline is rendered as online too, which is what will run.

        Where that needs a database, what it does offline stands for it, unless that is nothing.
        """
        self.revision, self.started, self._asked = revision, True, False
        events, start = self.rendering.events, len(self.rendering.events)
        self.rendering.starts[revision] = start
        try:
            error = self._try(migrate, arguments)
            if self._asked:
                offline = events[start:] if error is None else []
                del events[start:]
                self._seen.clear()
                self._online = True
                error = self._try(migrate, arguments)
                if error is not None and any(event.sql not in _BOUNDARIES for event in offline):
                    events[start:], error = offline, None
            if error is not None:
                self.rendering.failed[revision] = error
        finally:
            self.revision, self._online = None, False

    def _try(self, migrate: Callable[..., None], arguments: Mapping[str, Any]) -> BaseException | None:
        try:
            migrate(**arguments)
        except TookTooLongError:
            raise  # a scratch database would wait as long
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a revision raises is told, none is passed over
            return error
        return None


def _make_environment(
    config: Config,
    script: ScriptDirectory,
    recorder: _Recorder,
    migrations: Sequence[tuple[str, Callable[..., None]]],
) -> EnvironmentContext:
    """Alembic's context for env.py, whose output goes to a recorder. Its proxies do not work for a subclass."""
    environment = EnvironmentContext(config, script, as_sql=True)
    configure = environment.configure

    def configure_recording(*arguments: Any, **options: Any) -> None:
        configure(*arguments, **{**options, "output_buffer": StringIO()})
        recorder.rendering.options = dict(environment.context_opts)
        _redirect(environment.get_context(), recorder)

    def run_migrations(**arguments: Any) -> None:
        run_each(environment.get_context(), migrations, recorder.run, arguments)

    environment.configure = configure_recording  # type: ignore[method-assign]  # this one instance is changed
    environment.is_offline_mode = recorder.is_offline  # type: ignore[method-assign]  # this one instance is changed
    environment.run_migrations = run_migrations  # type: ignore[method-assign]  # this one instance is changed
    return environment


def _redirect(context: MigrationContext, recorder: _Recorder) -> None:
    if context.dialect.name != "postgresql":
        raise LintError(
            f"the project's dialect is {context.dialect.name}: the linter knows what blocks in PostgreSQL only"
        )
    bind = RecordingBind(context.dialect, lambda sql: recorder.record(sql + ";"), recorder.count_rows)
    implementation: Any = context.impl
    implementation.connection = bind
    implementation._exec = recorder.execute  # the one door through which all statements go
    implementation.static_output = recorder.record
    context.connection = bind  # type: ignore[assignment]  # stands in for a connection
    context.__class__ = _watch_questions(recorder)


def _watch_questions(recorder: _Recorder) -> type[MigrationContext]:
    """A kind of context that tells Alembic that it is offline, and a revision what the recorder says."""

    class Context(MigrationContext):
        @property
        def as_sql(self) -> bool:
            return is_library(sys._getframe(1).f_code.co_filename) or recorder.is_offline()

        @as_sql.setter
        def as_sql(self, _: bool) -> None: ...

    return Context


def run_each(
    context: MigrationContext,
    migrations: Sequence[tuple[str, Callable[..., None]]],
    run: Callable[..., None],
    arguments: Mapping[str, Any],
) -> None:
    """Call `run(revision, function, **arguments)` for each, in the transactions that Alembic would run it in."""
    with Operations.context(context), noting_batches():
        context.impl.start_migrations()
        for revision, migrate in migrations:
            with context.begin_transaction(_per_migration=True):
                run(revision, migrate, **arguments)


def render(config: Config, script: ScriptDirectory, revisions: Sequence[Script], direction: Direction) -> Rendering:
    """What the revisions would send, one after the other, in the order given.

    Raises:
        LintError: env.py does not run without a database, or is not for PostgreSQL.
    """
    recorder = _Recorder()
    environment = _make_environment(config, script, recorder, list_migrations(revisions, direction))
    where = Path(script.dir) / "env.py"
    with environment, _refuse_connections(), _limit_time(), _keep_quiet():
        try:
            script.run_env()
        except LintError as error:
            raise LintError(f"{where}: {error}") from error
        except ImportError as error:
            raise LintError(
                f"{where} does not import ({describe(error)}): install the project and Remit into one environment"
            ) from error
        except (Exception, SystemExit) as error:
            raise LintError(
                f"{where} does not run offline ({describe(error)}); the linter never uses a live database: let the "
                "offline branch of env.py work without one, or give it a URL such as postgresql://offline/"
            ) from error
    if revisions and not recorder.started:
        raise LintError(f"{where} ran no migrations: its offline branch must call context.run_migrations()")
    return recorder.rendering


def list_migrations(revisions: Sequence[Script], direction: Direction) -> list[tuple[str, Callable[..., None]]]:
    """The revisions' functions; one that a revision does not have does nothing."""
    return [(revision.revision, getattr(revision.module, direction, _do_nothing)) for revision in revisions]


def _do_nothing(**_: Any) -> None:
    return None


def describe(error: BaseException) -> str:
    """An error in a few words, on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, LintError):
        return text
    name = "exit" if isinstance(error, SystemExit) else type(error).__name__
    return f"{name}: {text[:300]}" if text else name


@contextmanager
def _refuse_connections() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise LintError(
            "it opens a database connection in offline mode: let its offline branch only call "
            "context.configure(url=…) and context.run_migrations()"
        )

    def refuse_network(opened: Any, *_: Any) -> NoReturn:
        opened.close()
        raise LintError("it opens a network connection in offline mode, and the linter must not wait for others")

    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    event.listen(Engine, "do_connect", refuse)
    socket.socket.connect = socket.socket.connect_ex = refuse_network  # type: ignore[method-assign]
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", refuse)
        socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]


@contextmanager
def _limit_time(seconds: float | None = None) -> Iterator[None]:
    """Interrupt code of the project that does not come to an end. Signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    limit = _SECONDS if seconds is None else seconds

    def interrupt(*_: object) -> NoReturn:
        raise TookTooLongError(f"it did not come to an end in {limit:g} s offline: it waits for something or loops")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _keep_quiet() -> Iterator[None]:
    """What env.py prints goes to standard error; what it does to logging ends with it."""
    root, state = logging.getLogger(), {}
    for name in (None, *logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        state[logger] = (logger.level, logger.disabled, list(logger.handlers))
    path = list(sys.path)
    with redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            sys.path[:] = path
            for logger in (root, *map(logging.getLogger, list(logging.root.manager.loggerDict))):
                level, disabled, handlers = state.get(logger, (logger.level, False, []))
                logger.level, logger.disabled, logger.handlers = level, disabled, handlers
