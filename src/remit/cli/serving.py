"""What `remit serve` and `remit auth serve` share: a socket, a database that is up to date, and a server on them."""

import asyncio
import contextlib
import gc
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from remit.cli.context import fail

if TYPE_CHECKING:
    from fastapi import FastAPI

    from remit.settings import Settings

# Objects that are more than before; garbage of so many is a few megabytes at most.
COLLECTED_AFTER = 10_000


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; a port that is taken ends the command with one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named in full: the event loop turns off Nagle's delay only for sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        fail(
            f"cannot listen on {host}:{port} ({error.strerror}): "
            "stop the program that uses the port, or choose another with --port"
        )
    return listener


@contextlib.asynccontextmanager
async def open_served_database(settings: "Settings") -> AsyncIterator[str]:
    """The dsn of the process's database while it is served: an embedded one is migrated, any other must be up to date.

    Raises:
        DatabaseSetupError: the database cannot be started, or needs `remit db upgrade`.
    """
    from remit.db.connect import open_database
    from remit.migrations.state import check_revision

    async with open_database(settings, watch=True) as dsn:
        await asyncio.to_thread(_migrate if settings.database_url is None else check_revision, dsn)
        await _check_schema(settings, dsn)
        yield dsn


def _migrate(dsn: str) -> None:
    """Bring an embedded database up to date; what does it is loaded only where there is something to do."""
    from remit.migrations.state import examine

    _, problem = examine(dsn)
    if problem is not None:
        from remit.migrations.run import upgrade

        upgrade(dsn)


async def serve_until_stopped(app: "FastAPI", listener: socket.socket) -> None:
    """Answer requests until a signal comes.

    Args:
        app: the application.
        listener: where it is reached.
    """
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=30,
            server_header=False,
            proxy_headers=False,  # the address of the peer itself decides about proxies and enrolment
        )
    )
    _spare_the_collector()
    # After its shutdown the server raises the signal that ended it again; by default that would end the process
    # before the database is left and stopped.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    await server.serve(sockets=[listener])


def _spare_the_collector() -> None:
    """Keep the garbage collector from what stays for good, and from looking after every few hundred objects.

    A request makes thousands of objects and few cycles: at the default threshold it is interrupted several times, and a
    full collection goes through everything that was imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, 20, 20)


async def _check_schema(settings: "Settings", dsn: str) -> None:
    """Load the schema and the engine's settings once before anything is served: what is amiss ends the command."""
    from remit.app import check_schema_answers
    from remit.authz.load import connect_remote, load_engine
    from remit.db.pool import Database
    from remit.identity.encryption import SecretBox

    database = await Database.open(dsn, size=1)
    try:
        async with database.connection() as connection:
            check_schema_answers(await load_engine(connection, settings))
        if settings.authz_engine == "http":
            SecretBox(settings)
        if (remote := connect_remote(settings)) is not None:
            await remote.aclose()
    except RuntimeError as error:
        fail(str(error))
    finally:
        await database.close()
