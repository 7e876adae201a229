"""Runs a history in an embedded PostgreSQL made for it, for revisions that ask the database questions."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from remit.db.errors import DatabaseSetupError
from remit.migrations.lint.bind import render_sql
from remit.migrations.lint.errors import LintError
from remit.migrations.lint.frames import find_sites
from remit.migrations.lint.model import Direction, Event
from remit.migrations.lint.parse import Parsed, SyntaxUnknownError, parse, walk
from remit.migrations.lint.render import describe, list_migrations, run_each
from remit.migrations.missing_roles import MissingRoles
from remit.migrations.scratch_server import open_scratch_server

T = TypeVar("T")

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
_NOT_FOR_A_CONNECTION = ("as_sql", "output_buffer", "starting_rev", "literal_binds", "script", "fn", "destination_rev")


class Scratch:
    """An empty database, migrated step by step while it is watched what runs."""

    def __init__(self, config: Config, script: ScriptDirectory, options: Mapping[str, Any], connection: Connection):
        self._config = config
        self._script = script
        self._connection = connection
        self._options = {name: value for name, value in options.items() if name not in _NOT_FOR_A_CONNECTION}
        self._revision: str | None = None
        self._events: list[Event] = []

    def migrate(self, revisions: Sequence[Script], direction: Direction) -> list[Event]:
        """Run the revisions; the statements that ran, with the boundaries of their transactions.

        Raises:
            LintError: a revision failed here too.
        """
        self._events = []
        environment = EnvironmentContext(self._config, self._script)
        context = MigrationContext.configure(
            connection=self._connection, environment_context=environment, opts={**self._options, "script": self._script}
        )
        self._watch_blocks(context)
        environment._migration_context = context
        with environment, context.begin_transaction():
            run_each(context, list_migrations(revisions, direction), self._run, {})
        self._connection.commit()
        return self._events

    def give_up(self) -> None:
        """Undo what a failed revision began."""
        self._connection.rollback()

    def note_statement(self, sql: str) -> None:
        """Keep a statement, unless it only reads the catalog."""
        if self._revision is not None and not _reads_catalog_only(sql):
            self._events.append(Event(self._revision, sql, find_sites()))

    def _run(self, revision: str, migrate: Callable[..., None]) -> None:
        self._revision = revision
        try:
            migrate()
        except (Exception, SystemExit) as error:
            raise LintError(
                f"revision {revision} cannot be rendered, and fails in an empty scratch database ({describe(error)})"
            ) from error
        finally:
            self._revision = None

    def _watch_blocks(self, context: MigrationContext) -> None:
        enter = context.autocommit_block

        @contextmanager
        def watched() -> Iterator[None]:
            self.note_statement("COMMIT")
            with enter():
                yield
            self.note_statement("BEGIN")

        context.autocommit_block = watched  # type: ignore[method-assign]  # this one instance is watched


def run_in_scratch(
    config: Config, script: ScriptDirectory, options: Mapping[str, Any], run: Callable[[Scratch], T]
) -> T:
    """Do something with a scratch database on a server of its own, which is stopped and removed afterwards.

    Args:
        config: of the project.
        script: its revisions.
        options: what env.py gives to `context.configure`.
        run: is called again with another database if a role was missing, which is there then.

    Raises:
        LintError: the embedded PostgreSQL does not start, or `run` raises it.
    """
    try:
        with open_scratch_server(_FAST) as server:
            roles = MissingRoles(lambda: psycopg.connect(server.dsn, autocommit=True))

            def attempt() -> T | LintError:
                with _connect(server.dsn, again=bool(roles.made)) as connection:
                    scratch = Scratch(config, script, options, connection)
                    _listen(connection, scratch)
                    try:
                        return run(scratch)
                    except LintError as error:
                        return error

            done = roles.retry(attempt, lambda result: str(result) if isinstance(result, LintError) else None)
    except DatabaseSetupError as error:
        raise LintError(f"a revision needs a database, and the embedded PostgreSQL does not start: {error}") from error
    if isinstance(done, LintError):
        raise done
    return done


@contextmanager
def _connect(dsn: str, *, again: bool) -> Iterator[Connection]:
    """A connection to an empty database: the server's own, or another one for those that come after."""
    url = make_url(dsn.replace("postgresql://", "postgresql+psycopg://", 1))
    if again:
        name = f"scratch_{uuid.uuid4().hex}"
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
        url = url.set(database=name)
    with create_engine(url, poolclass=NullPool).connect() as connection:
        yield connection


def _listen(connection: Connection, scratch: Scratch) -> None:
    available = {row[0] for row in connection.exec_driver_sql("SELECT name FROM pg_available_extensions")}
    connection.commit()

    through_sqlalchemy = False

    class Watched(psycopg.Cursor[Any]):
        """A cursor that also keeps what a revision sends past SQLAlchemy."""

        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            nonlocal through_sqlalchemy
            if not through_sqlalchemy:
                scratch.note_statement(psycopg.ClientCursor(self.connection).mogrify(query, params))
            through_sqlalchemy = False
            return super().execute(query, params, **options)

        def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
            nonlocal through_sqlalchemy
            rows = list(params_seq)
            for row in () if through_sqlalchemy else rows:
                scratch.note_statement(psycopg.ClientCursor(self.connection).mogrify(query, row))
            through_sqlalchemy = False
            super().executemany(query, rows, **options)

        def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
            scratch.note_statement(psycopg.ClientCursor(self.connection).mogrify(statement, params))
            return super().copy(statement, params, **options)

    driver: Any = connection.connection.driver_connection
    driver.cursor_factory = Watched

    def note(_: object, __: object, statement: str, ___: object, context: Any, ____: object) -> None:
        nonlocal through_sqlalchemy
        through_sqlalchemy = True
        compiled = getattr(context, "compiled", None)
        if compiled is None or compiled.statement is None:
            scratch.note_statement(statement)
            return
        parameters = getattr(context, "compiled_parameters", None)
        scratch.note_statement(render_sql(compiled.statement, parameters[0] if parameters else None))

    def replace(_: object, __: object, statement: str, parameters: Any, ___: object, ____: object) -> tuple[str, Any]:
        return _leave_out_missing(statement, available), parameters

    event.listen(connection.engine, "before_cursor_execute", note)
    event.listen(connection.engine, "before_cursor_execute", replace, retval=True)


def _leave_out_missing(sql: str, extensions: set[str]) -> str:
    """The text to run instead: without the extensions that the server has not."""
    try:
        statements = parse(sql)
    except SyntaxUnknownError:
        return sql

    def is_there(statement: Parsed) -> bool:
        return statement.kind != "create_extension_stmt" or statement.body["extname"] in extensions

    if all(map(is_there, statements)):
        return sql
    return "; ".join(statement.sql if is_there(statement) else "SELECT 1" for statement in statements)


def _reads_catalog_only(sql: str) -> bool:
    try:
        statements = parse(sql)
    except SyntaxUnknownError:
        return False
    return all(statement.kind == "select_stmt" and _is_catalog_query(statement.body) for statement in statements)


def _is_catalog_query(body: Mapping[str, Any]) -> bool:
    tables = [node for kind, node in walk(body) if kind == "range_var"]
    return all(
        node.get("schemaname") in ("pg_catalog", "information_schema") or node["relname"].startswith("pg_")
        for node in tables
    )
