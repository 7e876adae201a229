"""The connections of one process.

Statements are prepared and their plans generic: planning an authorization check takes longer than running it.
A connection is held for a statement or a transaction, never while something remote is awaited.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import asyncpg
import orjson

from remit.errors import Unavailable

STATEMENT_SECONDS = 30
# A server that hangs does not keep its own time: the client's ends a little later.
COMMAND_SECONDS = STATEMENT_SECONDS + 5

# What a lost, refused or exhausted database looks like; all of them are answered 503 and pass by themselves.
UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # Of a connection that the server ended between two statements, or on which time ran out while one was prepared.
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:  # the driver's classes are generic in its type hints only
    Connection = asyncpg.pool.PoolConnectionProxy


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _prepare_connection(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_dumps, decoder=orjson.loads)
    # Ids are text everywhere above the database.
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str)
    # The driver looks up the array types of these once per connection; now, rather than inside some request.
    await connection.fetchval("SELECT $1::uuid[] IS NULL OR $2::jsonb[] IS NULL", None, None)


async def _keep_session(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Leave the session as it is: the driver's own reset is a round trip after each statement.

    Nothing here changes a session: settings and locks are those of transactions, listening connections are not of the
    pool. An open transaction is rolled back by the driver before this is called.
    """


class Database:
    """A pool of connections; `connection()` for single statements, `transaction()` for several."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout

    @classmethod
    async def open(cls, dsn: str, *, size: int = 10, timeout: float = 5.0) -> Self:
        """Connect.

        Args:
            dsn: a libpq URL.
            size: most connections.
            timeout: seconds to wait for a free or a new connection.

        Raises:
            OSError: it cannot be reached.
        """
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_prepare_connection,
            reset=_keep_session,
            timeout=timeout,
            command_timeout=COMMAND_SECONDS,
            # The driver would not keep the longest statements, which are those whose planning costs most.
            max_cacheable_statement_size=0,
            server_settings={
                "application_name": "remit",
                "plan_cache_mode": "force_generic_plan",
                "jit": "off",
                "timezone": "UTC",
                "statement_timeout": f"{STATEMENT_SECONDS}s",
                "idle_in_transaction_session_timeout": "30s",
            },
        )
        return cls(pool, timeout)

    async def close(self) -> None:
        """Close all connections; those still in use after two seconds are cut."""
        try:
            await asyncio.wait_for(self._pool.close(), 2)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit, for one statement.

        Raises:
            Unavailable: none is to be had in time.
        """
        try:
            # The driver's own timeout would wrap each wait in a task.
            async with asyncio.timeout(self._timeout):
                connection = await self._pool.acquire()
        except (TimeoutError, *UNREACHABLE) as error:
            raise Unavailable("The database cannot be reached; try again.") from error
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection with a transaction: committed at the end, rolled back by an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection
