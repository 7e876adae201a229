"""`remit demo`: the story on a real server, to watch and to try."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from remit.cli.context import configured


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after the story, with exit code 0 if it went well.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the server; 0 takes a free one.")] = 0,
    schema: Annotated[Path | None, typer.Option(help="A schema file to use instead of the shipped one.")] = None,
) -> None:
    """Play Remit's story: an agent, two users and a stranger, each request shown with what comes of it.

    Example:
    $ remit demo --once
    """
    from remit.demo.run import run_demo

    settings = configured(port=port, authz_schema=schema)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    # Whatever ends the demo, the processes that it started end with it.
    signal.signal(signal.SIGTERM, interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        raise typer.Exit(asyncio.run(run_demo(settings, once=once)))
