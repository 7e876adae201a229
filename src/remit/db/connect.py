"""Where the database is: the server of REMIT_DATABASE_URL, or the embedded one, started when needed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg

from remit.db.embedded import EmbeddedPostgres
from remit.db.errors import DatabaseSetupError, UnsupportedServerError

if TYPE_CHECKING:
    from remit.settings import Settings

logger = logging.getLogger(__name__)

OLDEST_MAJOR = 15
_WATCH_SECONDS = 1.0


def connect(dsn: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection for commands and migrations; raises DatabaseSetupError when there is none to be had."""
    try:
        return psycopg.connect(dsn, application_name="remit command", connect_timeout=10)
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise DatabaseSetupError(f"cannot reach the database, check REMIT_DATABASE_URL: {reason}") from error


def check_version(dsn: str) -> None:
    """Raise UnsupportedServerError, naming the version, if the server is older than Remit supports."""
    with connect(dsn) as connection:
        if connection.info.server_version < OLDEST_MAJOR * 10000:
            version = connection.info.parameter_status("server_version")
            raise UnsupportedServerError(f"PostgreSQL {version} is too old: Remit needs {OLDEST_MAJOR} or newer")


@asynccontextmanager
async def open_database(settings: "Settings", *, watch: bool = False) -> AsyncIterator[str]:
    """The connection URL of the database, reachable and of a supported version, for as long as the block lasts.

    Args:
        settings: `database_url` names a server; without it the embedded one in `data_dir` is attached to or started.
        watch: start the embedded server again when it dies meanwhile.

    Raises DatabaseSetupError with a sentence that says what to do.
    """
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
        await asyncio.to_thread(check_version, dsn)
        yield dsn
        return
    server = await EmbeddedPostgres.start(settings.data_dir)
    watcher = asyncio.create_task(_watch(server)) if watch else None
    try:
        yield server.dsn
    finally:
        if watcher is not None:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
        await server.stop()


@contextmanager
def open_database_blocking(settings: "Settings") -> Iterator[str]:
    """`open_database` for code without an event loop."""
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
        check_version(dsn)
        yield dsn
        return
    server = EmbeddedPostgres.start_blocking(settings.data_dir)
    try:
        yield server.dsn
    finally:
        server.stop_blocking()


async def _watch(server: EmbeddedPostgres) -> None:
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        try:
            if await server.ensure_running():
                logger.warning("PostgreSQL had stopped and was started again")
        except DatabaseSetupError as error:
            logger.error("PostgreSQL does not start again, still trying: %s", error)
