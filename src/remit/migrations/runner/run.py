"""One run: connect, wait for the turn, run the revisions, look at what they left."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from remit.db.errors import MigrationError
from remit.migrations.lint.project import describe_command
from remit.migrations.runner.control import IDENTITY, Control
from remit.migrations.runner.guard import AgainError, Guard, find_state
from remit.migrations.runner.model import Limits, Outcome, Tell
from remit.migrations.runner.watch import Watcher

LOCK_HELD = "remit_holds_migration_lock"
"""The attribute of Alembic's configuration that tells env.py not to wait for the lock itself."""

# A column, table, object or schema that is there already.
_DONE_BEFORE = ("42701", "42P07", "42710", "42P06")
_IS_GONE = "42704"

alembic_in_use = threading.Lock()
"""Alembic keeps what it is doing in global variables: one run at a time in a process."""


@dataclass
class _State:
    """What is known of the database once env.py connected to it."""

    control: Control | None = None
    guard: Guard | None = None
    context: MigrationContext | None = None
    before: tuple[str, ...] | None = None
    ran: list[str] = field(default_factory=list)
    unvalidated: list[tuple[str, str]] = field(default_factory=list)


def upgrade(config: Config, revision: str, limits: Limits, tell: Tell, *, dsn: str | None = None) -> Outcome:
    """Bring the database that env.py connects to up to a revision.

    Args:
        config: the project.
        revision: as Alembic names it.
        limits: how long to wait.
        tell: receives what happens.
        dsn: how the runner's own connection reaches the database; made from env.py's URL by default.

    Raises:
        LockedError: a step did not get its lock.
        MigrationError: a revision failed, or the history and the database do not agree.
        DatabaseSetupError: the database cannot be reached.
    """
    with alembic_in_use, disposing(), ExitStack() as stack:
        script = ScriptDirectory.from_config(config)
        state = _State()
        stack.enter_context(_connecting(state, stack, limits, tell, dsn))
        config.attributes[LOCK_HELD] = True
        while True:
            try:
                _run_env(config, script, revision, state, tell)
            except AgainError as pause:
                time.sleep(float(str(pause)))
            except CommandError as error:
                raise explain(error) from error
            except DBAPIError as error:
                raise MigrationError(_describe_failure(state, error)) from error
            else:
                return _finish(script, revision, state)


def _describe_failure(state: _State, error: DBAPIError) -> str:
    name = state.guard.revision if state.guard else None
    where = f"revision {name} stopped" if name else "the migration stopped"
    text = f"{where}, run it again once this is solved: {error.orig}"
    if name and find_state(error) in _DONE_BEFORE:
        text += "; if an earlier run was interrupted it did this, and `remit db rehearse` shows where to repair that"
    if name and find_state(error) == _IS_GONE and (error.statement or "").upper().startswith("DROP INDEX CONCURRENTLY"):
        text += "; no earlier revision names it: look at the name, or write IF EXISTS if that is how it is meant"
    return text


def explain(error: Exception) -> MigrationError:
    """Alembic's refusal in words that say what to do."""
    text = describe_command(error)
    if "Can't locate revision" in text:
        return MigrationError(
            f"this version of the code does not know the revision ({text}); the database was migrated by a newer one: "
            "run that"
        )
    return MigrationError(text)


@contextmanager
def disposing() -> Iterator[None]:
    """Close what env.py's engines leave open when it is through."""
    with ExitStack() as stack:

        def connected(connection: Connection) -> None:
            if not connection.dialect.is_async:
                stack.callback(connection.engine.dispose)

        event.listen(Engine, "engine_connect", connected)
        stack.callback(event.remove, Engine, "engine_connect", connected)
        yield


@contextmanager
def _connecting(state: _State, stack: ExitStack, limits: Limits, tell: Tell, dsn: str | None) -> Iterator[None]:
    """When env.py connects: wait for the turn, and guard the connection from then on."""
    thread = threading.get_ident() if dsn is not None else None
    mine: set[str] = set()

    def connected(connection: Connection) -> None:
        if thread not in (None, threading.get_ident()):
            return  # another part of this process, which has nothing to do with the migration
        try:
            pid, identity = _identify(connection)
            if state.guard is None:
                start(connection, identity)
            elif identity not in mine:
                raise MigrationError("env.py connects to several databases: run each of them by its own alembic.ini")
        except BaseException:
            connection.connection.close()  # env.py never gets it
            raise
        if state.guard is not None:
            state.guard.add(connection, pid)

    def start(connection: Connection, identity: str) -> None:
        control = stack.enter_context(Control.open(dsn or make_dsn(connection.engine), limits, tell))
        if control.identify() != identity:
            raise MigrationError(
                "env.py connects to another database than its URL names, so that nothing keeps other migrators out; "
                "name the database by its URL alone"
            )
        mine.add(identity)
        state.control = control
        state.unvalidated = control.find_unvalidated()
        watcher = stack.enter_context(Watcher(control, tell).running())
        state.guard = Guard(control, watcher, limits, tell)
        stack.enter_context(state.guard.listening())

    event.listen(Engine, "engine_connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "engine_connect", connected)


def _identify(connection: Connection) -> tuple[int, str]:
    if connection.dialect.name != "postgresql":
        raise MigrationError(f"the project's database is {connection.dialect.name}: this command is for PostgreSQL")
    raw = connection.connection
    cursor = raw.cursor()
    try:
        cursor.execute(IDENTITY)
        row: Any = cursor.fetchone()
    finally:
        cursor.close()
    raw.rollback()
    return row[0], row[1]


def make_dsn(engine: Engine) -> str:
    """The URL of an engine as libpq has it. What only the engine's driver understands is left out."""
    known = {"host", "port", "user", "password", "dbname", "options", "sslmode", "sslrootcert", "sslcert", "sslkey"}
    query: dict[str, Any] = {name: value for name, value in engine.url.query.items() if name in known}
    if engine.url.query.get("ssl") in ("require", "verify-ca", "verify-full", "prefer", "allow", "disable"):
        query["sslmode"] = engine.url.query["ssl"]
    url = engine.url.set(drivername="postgresql").set(query=query)
    return url.render_as_string(hide_password=False)


def _run_env(config: Config, script: ScriptDirectory, revision: str, state: _State, tell: Tell) -> None:
    def plan(heads: Any, context: MigrationContext) -> Iterator[Any]:
        state.context = context
        if state.before is None:
            state.before = tuple(heads)
        guard = state.guard
        for step in script._upgrade_revs(revision, heads):
            name = step.revision.revision
            if guard is not None:
                guard.revision = name
                before = script.iterate_revisions(name, "base")
                guard.earlier = tuple(Path(found.path) for found in before if found.revision != name)
            if name not in state.ran:
                state.ran.append(name)
                tell(f"{name}  {step.doc}")
            yield step

    with EnvironmentContext(config, script, fn=plan, destination_rev=revision):
        script.run_env()


def _finish(script: ScriptDirectory, revision: str, state: _State) -> Outcome:
    if state.control is None or state.context is None:
        raise MigrationError("env.py ran no migrations: its online branch must connect and call run_migrations()")
    state.control.check_alive()
    after = state.control.read_heads(state.context.version_table, state.context.version_table_schema)
    _check_heads(script, revision, after)
    whole = set(after) == set(script.get_heads())
    left: list[str] = []
    notes: list[str] = []
    for name, table in state.control.find_invalid_indexes().items():
        left.append(
            f"index {name} on {table} is invalid: every write pays for it and no query uses it; "
            f"DROP INDEX CONCURRENTLY {name}, then build it again"
        )
    for name, table in state.control.find_unvalidated():
        text = f'constraint {name} of {table} is not validated: ALTER TABLE {table} VALIDATE CONSTRAINT "{name}"'
        (left if whole and (name, table) not in state.unvalidated else notes).append(text)
    return Outcome(state.before or (), after, tuple(state.ran), tuple(left), tuple(notes))


def _check_heads(script: ScriptDirectory, revision: str, after: Sequence[str]) -> None:
    """What a swallowed error would hide: the run ended well, and the database is not where the code expects it."""
    try:
        wanted = [found.revision for found in script.get_revisions(revision) if found is not None]
        applied = {found.revision for head in after for found in script.iterate_revisions(head, "base")}
    except (CommandError, RevisionError) as error:
        raise explain(error) from error
    missing = [name for name in wanted if name not in applied]
    if missing:
        raise MigrationError(
            f"the run ended without an error, but the database is at {', '.join(after) or 'nothing'} and the code "
            f"needs {', '.join(missing)}: env.py swallows errors, or rolls back; nothing may rely on this database yet"
        )
