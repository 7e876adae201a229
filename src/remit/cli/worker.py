"""`remit worker`: background jobs in a process of their own."""

import asyncio
import contextlib
import json
import signal
from functools import partial
from typing import Annotated

import typer

from remit.cli.context import AsJson, DataDir, configured, fail

worker_commands = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@worker_commands.callback()
def work(
    context: typer.Context,
    data_dir: DataDir = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when no job is left.")] = False,
) -> None:
    """Run background jobs until interrupted. `remit serve` runs them itself unless told --no-worker.

    Example:
    $ remit worker --until-idle
    """
    if context.invoked_subcommand is None:
        settings = configured(data_dir=data_dir)

        async def run() -> None:
            from remit.background import keep_running
            from remit.db.connect import open_database
            from remit.telemetry.logging import configure_logging
            from remit.worker import run_worker

            configure_logging(settings.log_format, settings.log_level)
            async with open_database(settings, watch=True) as dsn:
                work = partial(run_worker, settings, dsn, wait=not until_idle)
                # It ends when the database goes away, which is no reason for this process to end.
                task = asyncio.ensure_future(work() if until_idle else keep_running("worker", work))
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run())


@worker_commands.command("enqueue")
def enqueue(
    agent: Annotated[str, typer.Argument(help="The agent that the task is for.")],
    tenant: Annotated[str, typer.Option(help="The agent's tenant.")],
    name: Annotated[str | None, typer.Option(help="The task's name.")] = None,
    params: Annotated[str | None, typer.Option(help="The task's params, a JSON object.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Queue a job that creates a task. Nobody is calling when it runs, so the task has no creator.

    Example:
    $ remit worker enqueue echo --tenant acme --name nightly-digest
    """
    settings = configured(data_dir=data_dir)
    try:
        values = json.loads(params) if params else None
    except json.JSONDecodeError:
        values = params
    if not isinstance(values, dict | None):
        fail("--params must be a JSON object")

    async def run() -> int:
        from remit.db.connect import open_database
        from remit.worker import enqueue_task

        async with open_database(settings) as dsn:
            return await enqueue_task(dsn, tenant=tenant, agent=agent, name=name, params=values)

    job = asyncio.run(run())
    typer.echo(json.dumps({"job": job}) if as_json else f"Job {job} is queued.")
