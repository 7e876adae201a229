"""`remit serve`: the server, with its database and its background jobs."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.context import configured, fail

if TYPE_CHECKING:
    from remit.settings import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded PostgreSQL keeps its data.")] = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="For trying out: open enrolment, readable logs, a tenant and an admin's key.")
    ] = False,
    worker: Annotated[bool | None, typer.Option("--worker/--no-worker", help="Run background jobs as well.")] = None,
) -> None:
    """Serve the API until interrupted, with an embedded PostgreSQL unless REMIT_DATABASE_URL names a server.

    An embedded database is migrated at the start; any other one with `remit db upgrade`.

    Example:
    $ remit serve --dev --port 5003
    """
    settings = configured(
        data_dir=data_dir,
        host=host,
        port=port,
        embedded_worker=worker,
        agent_enrollment="open" if dev else None,
        log_format="console" if dev else None,
    )
    _refuse_open_enrolment_for_others(settings)
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run_server(settings, dev=dev))


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _refuse_open_enrolment_for_others(settings: "Settings") -> None:
    if settings.agent_enrollment == "open" and not is_loopback(settings.host):
        fail(
            f"open enrolment is for this machine alone, and the server would listen on {settings.host}: "
            "set REMIT_AGENT_ENROLLMENT=key, or listen on 127.0.0.1"
        )


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


async def run_server(settings: "Settings", *, dev: bool) -> None:
    """Serve until a signal comes.

    Args:
        settings: the process's settings.
        dev: make a tenant and an admin if there is none, and print his key.
    """
    import uvicorn

    from remit.app import create_app
    from remit.background import keep_running
    from remit.db.connect import open_database
    from remit.migrations.run import upgrade
    from remit.migrations.state import check_revision
    from remit.telemetry.logging import configure_logging
    from remit.worker import run_worker

    configure_logging(settings.log_format, settings.log_level)
    with listen(settings.host, settings.port) as listener:
        async with open_database(settings, watch=True) as dsn:
            if settings.database_url is None:
                await asyncio.to_thread(upgrade, dsn)
            else:
                await asyncio.to_thread(check_revision, dsn)
            await check_schema(settings, dsn)
            if dev:
                await _greet(settings, dsn)
            server = uvicorn.Server(
                uvicorn.Config(
                    create_app(settings, dsn),
                    log_config=None,
                    access_log=False,
                    timeout_graceful_shutdown=5,
                    timeout_keep_alive=30,
                    server_header=False,
                    proxy_headers=False,  # the address of the peer itself decides about proxies and enrolment
                )
            )
            work = None
            if settings.embedded_worker:
                worker = partial(run_worker, settings, dsn)
                work = asyncio.create_task(keep_running("background jobs", worker))
            # After its shutdown the server raises the signal that ended it again; by default that would end the
            # process before the database is left and stopped.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            try:
                await server.serve(sockets=[listener])
            finally:
                if work is not None:
                    work.cancel()
                    await asyncio.gather(work, return_exceptions=True)


async def check_schema(settings: "Settings", dsn: str) -> None:
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


async def _greet(settings: "Settings", dsn: str) -> None:
    from remit.identity.first import make_first_admin

    secret = await make_first_admin(settings, dsn)
    if secret is not None:
        typer.echo(f"Tenant `default` with the user `admin`. This key is shown once:\n  {secret}")
