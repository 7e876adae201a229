"""The scratch server and its databases: made for one rehearsal, and gone with it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from remit.db.binaries import Binaries
from remit.db.embedded import EmbeddedPostgres
from remit.db.errors import DatabaseSetupError
from remit.migrations.missing_roles import MissingRoles
from remit.migrations.rehearse.errors import RehearseError
from remit.migrations.scratch_server import open_scratch_server

# Without fsync the disk's own hiccups are not taken for the revision's; everything else is as on a real server.
_SETTINGS = {
    "fsync": "off",
    "autovacuum": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "max_locks_per_transaction": "512",
}
_SECONDS_TO_LEAVE = 10.0

Connection = psycopg.Connection[tuple[Any, ...]]


class ScratchServer:
    """A server that this rehearsal started."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._count = 0
        self.roles = MissingRoles(lambda: self.connect("postgres"))

    @property
    def version(self) -> str:
        """For instance `18.6`."""
        return self._server.binaries.version

    def dsn(self, database: str) -> str:
        """The connection URL of one of its databases."""
        return self._server.dsn.replace("@/remit?", f"@/{database}?")

    def create(self, template: str = "template1", name: str | None = None) -> str:
        """Make a database, as a copy of another one, and return its name."""
        name = name or self.reserve()
        self.wait_until_left(template)
        with self.connect("postgres") as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return name

    def reserve(self) -> str:
        """A name that no database of it has."""
        self._count += 1
        return f"rehearsal_{self._count}"

    def drop(self, database: str) -> None:
        """Remove a database with whoever is connected to it."""
        with self.connect("postgres") as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """A copy of a database for as long as the block lasts."""
        name = self.create(template)
        try:
            yield name
        finally:
            self.drop(name)

    def connect(self, database: str, *, autocommit: bool = True) -> Connection:
        """A connection; transactions are the caller's where it is not in autocommit."""
        return psycopg.connect(self.dsn(database), autocommit=autocommit, application_name="remit rehearse")

    def wait_until_left(self, database: str) -> None:
        """Wait until the sessions of a process that was ended are gone."""
        question = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        deadline = time.monotonic() + _SECONDS_TO_LEAVE
        with self.connect("postgres") as admin:
            while fetch_value(admin, question, [database]):
                if time.monotonic() > deadline:
                    admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
                    )
                time.sleep(0.01)


def fetch_value(connection: Connection, question: str, values: list[Any] | None = None) -> Any:
    """The first value of the first row; None where there is no row."""
    row = connection.execute(question.encode(), values).fetchone()
    return None if row is None else row[0]


@contextmanager
def open_server(postgres: Path | None = None) -> Iterator[ScratchServer]:
    """A server for as long as the block lasts.

    Args:
        postgres: an installation, the folder with its `bin`, in place of the embedded one.

    Raises:
        RehearseError: it does not start.
    """
    if postgres is not None and not (postgres / "bin" / "postgres").is_file():
        raise RehearseError(f"--postgres: there is no bin/postgres in {postgres}; name the folder that holds `bin`")
    with ExitStack() as stack:
        try:
            server = stack.enter_context(open_scratch_server(_SETTINGS, Binaries(postgres) if postgres else None))
        except DatabaseSetupError as error:
            which = f"the PostgreSQL in {postgres}" if postgres else "the embedded PostgreSQL"
            raise RehearseError(f"{which} does not start: {error}") from error
        yield ScratchServer(server)
