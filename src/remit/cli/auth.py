"""`remit auth`: authentication and authorization for servers that keep their own rows."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.context import configured, fail
from remit.cli.serving import is_loopback, listen, open_served_database, serve_until_stopped

if TYPE_CHECKING:
    from remit.settings import Settings

auth_commands = typer.Typer(no_args_is_help=True, help="The auth provider for other servers.")

_NO_SIGNING_KEY = (
    "the provider signs what it hands out: set REMIT_SECRET_KEY, the same in every process "
    "(python -c 'import secrets; print(secrets.token_urlsafe(48))' makes one)"
)


@auth_commands.callback()
def _auth() -> None:
    """Authentication and authorization for servers that keep their own rows."""


@auth_commands.command("serve")
def serve_auth(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    unix_socket: Annotated[Path | None, typer.Option("--socket", help="A unix socket to listen on instead.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded PostgreSQL keeps its data.")] = None,
) -> None:
    """Serve the auth-provider contract until interrupted, on the database of `remit serve`.

    Example:
    $ remit auth serve --port 5004
    """
    settings = configured(data_dir=data_dir, auth_host=host, auth_port=port, auth_socket=unix_socket)
    if settings.secret_key is None:
        fail(_NO_SIGNING_KEY)
    if settings.auth_socket is None and settings.auth_caller_secret is None and not is_loopback(settings.auth_host):
        fail(
            f"whoever reaches {settings.auth_host} could ask the provider: set REMIT_AUTH_CALLER_SECRET, "
            "or listen on 127.0.0.1 or on --socket"
        )
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_run(settings))


@contextlib.contextmanager
def _listening(settings: "Settings") -> Iterator[socket.socket]:
    if settings.auth_socket is None:
        with listen(settings.auth_host, settings.auth_port) as listener:
            yield listener
        return
    path = settings.auth_socket
    _remove_dead_socket(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Made for its own user only, rather than made and then closed to the others.
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            fail(f"cannot listen on {path} ({error.strerror or error}): choose another path with --socket")
        finally:
            os.umask(mask)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _remove_dead_socket(path: Path) -> None:
    """Remove what a killed process left; a socket that somebody listens on stays and makes `bind` fail."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


async def _run(settings: "Settings") -> None:
    from remit.provider.app import create_provider_app
    from remit.telemetry.logging import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    with _listening(settings) as listener:
        async with open_served_database(settings) as dsn:
            await serve_until_stopped(create_provider_app(settings, dsn), listener)
