"""The application under real uvicorn on a free loopback port: in the test's event loop, or in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog
import uvicorn
from fastapi import FastAPI

from remit.app import create_app
from remit.db.pool import Connection, Database
from remit.settings import Settings

START_SECONDS = 20


@dataclass(frozen=True)
class Server:
    """A running server: where it listens, its database and, when it runs in the test's own loop, its parts."""

    url: str
    dsn: str
    app: FastAPI

    @property
    def database(self) -> Database:
        database: Database = self.app.state.database
        return database


@asynccontextmanager
async def serve(dsn: str, app: FastAPI | None = None, **settings: Any) -> AsyncIterator[Server]:
    """Serve in this event loop.

    Args:
        dsn: a migrated database.
        app: an application other than one of these settings.
        settings: settings that differ from the defaults.
    """
    app = app or create_app(Settings(**settings), dsn)
    # Named, because asyncio turns Nagle's algorithm off for sockets that say they are TCP; else answers wait 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=2
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        if server.should_exit:
            raise RuntimeError("the application did not start")
        try:
            yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", dsn, app)
        finally:
            await server.shutdown(sockets=[listener])


@contextmanager
def serve_in_thread(dsn: str, **settings: Any) -> Iterator[Server]:
    """Serve in a thread, for as long as many tests last."""
    started: list[Server] = []
    failed: list[BaseException] = []
    ready = threading.Event()

    async def run() -> None:
        async with serve(dsn, **settings) as server:
            started.append(server)
            loops.append(asyncio.get_running_loop())
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, ending.wait)

    def run_thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
            ready.set()
            raise

    ending = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=run_thread, name="remit")
    thread.start()
    try:
        assert ready.wait(START_SECONDS), "the server did not start"
        if failed:
            raise failed[0]
        yield started[0]
    finally:
        ending.set()
        thread.join()


@contextmanager
def record_statements(server: Server) -> Iterator[list[str]]:
    """The texts of the SQL statements that requests run on a server of this loop, in order.

    What runs beside requests (the audit trail, the streams' publisher) is left out: it has no request's id.
    """
    database = server.database
    # Keys seen once stay known, so that as many statements are run however slow the machine is.
    server.app.state.presumed_keys.now = lambda: 0.0
    statements: list[str] = []
    connect = database.connection

    def note(query: asyncpg.connection.LoggedQuery) -> None:
        statements.append(query.query)

    @asynccontextmanager
    async def connection() -> AsyncIterator[Connection]:
        async with connect() as found:
            if "request_id" not in structlog.contextvars.get_contextvars():
                yield found
                return
            found.add_query_logger(note)
            try:
                yield found
            finally:
                found.remove_query_logger(note)

    database.connection = connection  # type: ignore[method-assign]  # an instance's own, for as long as the block
    try:
        yield statements
    finally:
        database.connection = connect  # type: ignore[method-assign]  # as above
