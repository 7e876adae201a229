"""`remit serve`: the server, with its database and its background jobs."""

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.context import configured, fail
from remit.cli.serving import is_loopback, listen, open_served_database, serve_until_stopped

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
        uvloop.run(_run(settings, dev=dev))


def _refuse_open_enrolment_for_others(settings: "Settings") -> None:
    if settings.agent_enrollment == "open" and not is_loopback(settings.host):
        fail(
            f"open enrolment is for this machine alone, and the server would listen on {settings.host}: "
            "set REMIT_AGENT_ENROLLMENT=key, or listen on 127.0.0.1"
        )


async def _run(settings: "Settings", *, dev: bool) -> None:
    from remit.app import create_app
    from remit.background import keep_running
    from remit.telemetry.logging import configure_logging
    from remit.worker import run_worker

    configure_logging(settings.log_format, settings.log_level)
    with listen(settings.host, settings.port) as listener:
        async with open_served_database(settings) as dsn:
            if dev:
                await _greet(settings, dsn)
            work = None
            if settings.embedded_worker:
                worker = partial(run_worker, settings, dsn)
                work = asyncio.create_task(keep_running("background jobs", worker))
            try:
                await serve_until_stopped(create_app(settings, dsn), listener)
            finally:
                if work is not None:
                    work.cancel()
                    await asyncio.gather(work, return_exceptions=True)


async def _greet(settings: "Settings", dsn: str) -> None:
    from remit.identity.first import make_first_admin

    secret = await make_first_admin(settings, dsn)
    if secret is not None:
        typer.echo(f"Tenant `default` with the user `admin`. This key is shown once:\n  {secret}")
