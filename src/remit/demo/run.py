"""Sets the demo's stage: database, tenants, server and agent in processes of their own; plays; cleans up."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape

from remit.authz.load import load_engine
from remit.authz.model import Subject
from remit.db.connect import open_database
from remit.db.errors import DatabaseSetupError
from remit.db.pool import Database
from remit.demo.story import Cast, Seen, StepFailed, Story
from remit.identity.api_keys import insert_key
from remit.identity.subjects import SubjectKind, TenantRole, create_subject
from remit.identity.tenants import create_tenant
from remit.migrations.run import upgrade
from remit.settings import Settings

AGENT = "echo"
START_SECONDS = 60
_PEOPLE: tuple[tuple[str, SubjectKind, TenantRole], ...] = (
    ("alice", "user", "member"),
    ("bob", "user", "member"),
    ("ada", "user", "admin"),
    ("reporter", "service_account", "member"),
)


class Stage:
    """Prints what happens."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.step = "setting up"

    def say(self, text: str) -> None:
        """A line beside the story."""
        self.console.print(f"[dim]{escape(text)}[/dim]")

    def begin(self, step: str) -> None:
        """The next step."""
        self.step = step
        self.console.print(f"\n[bold]{escape(step)}[/bold]")

    def show(self, seen: Seen) -> None:
        """A request and what it shows."""
        colour = {2: "green", 4: "yellow", 5: "red"}.get((seen.status or 0) // 100, "cyan")
        status = f"[{colour}]{seen.status}[/{colour}]" if seen.status else "   "
        who = f"{seen.who:>9}"
        if seen.request:
            self.console.print(f"  {who}  {status}  {escape(seen.request)}", soft_wrap=True)
        self.console.print(f"             [dim]→[/dim] [{colour}]{escape(seen.line)}[/{colour}]", soft_wrap=True)

    def fail(self, reason: str) -> None:
        """The end of a story that went wrong."""
        self.console.print(f"\n[bold red]failed at the step “{escape(self.step)}”[/bold red]: {escape(reason)}")


async def run_demo(settings: Settings, *, once: bool) -> int:
    """Play the story.

    Args:
        settings: of the server. Without `database_url` the data goes into a temporary folder.
        once: end after the story; otherwise the server stays up until interrupted.

    Returns:
        The exit code: 0 if every step was as it should be.
    """
    stage = Stage(Console(highlight=False))
    async with AsyncExitStack() as stack:
        if settings.database_url is None:
            folder = Path(tempfile.mkdtemp(prefix="remit-demo-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            settings = settings.model_copy(update={"data_dir": folder})
        try:
            cast = await _set_up(stack, settings, stage)
            async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
                await Story(cast, client, stage.begin).play()
        except (StepFailed, DatabaseSetupError, httpx.HTTPError) as error:
            stage.fail(str(error) or type(error).__name__)
            return 1
        stage.say("\nEvery step went as it should.")
        if not once:
            _invite(stage, cast)
            await asyncio.Event().wait()
    return 0


async def _set_up(stack: AsyncExitStack, settings: Settings, stage: Stage) -> Cast:
    stage.say("Starting PostgreSQL …")
    dsn = await stack.enter_async_context(open_database(settings))
    await asyncio.to_thread(upgrade, dsn)
    database = await Database.open(dsn, size=3)
    stack.push_async_callback(database.close)
    # A real server may have been used before; the embedded one is new.
    suffix = f"-{secrets.token_hex(3)}" if settings.database_url else ""
    tenant = f"acme{suffix}"
    keys: dict[str, str] = {}
    async with database.transaction() as connection:
        engine = await load_engine(connection, settings)
        tenant_id = await create_tenant(connection, tenant)
        for name, kind, role in _PEOPLE:
            subject = await create_subject(connection, engine, tenant_id, kind, name, role=role)
            keys[name] = (await insert_key(connection, tenant_id=tenant_id, holder=Subject(kind, subject))).secret
        other_id = await create_tenant(connection, f"globex{suffix}")
        mallory_id = await create_subject(connection, engine, other_id, "user", "mallory", role="admin")
        keys["mallory"] = (await insert_key(connection, tenant_id=other_id, holder=Subject("user", mallory_id))).secret
    port = settings.port or _free_port()
    url = f"http://127.0.0.1:{port}"
    stage.say(f"Starting the server on {url} …")
    await stack.enter_async_context(_server(settings, port, tenant, url))
    stage.say("Starting an agent …")
    agent_task = await stack.enter_async_context(_agent(url))
    return Cast(url, tenant, AGENT, keys, mallory_id, dsn, database, engine, agent_task, show=stage.show)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def _server(settings: Settings, port: int, tenant: str, url: str) -> AsyncIterator[None]:
    environment = {
        **os.environ,
        "REMIT_DATA_DIR": str(settings.data_dir),
        "REMIT_AGENT_ENROLLMENT": "open",
        "REMIT_DEFAULT_TENANT": tenant,
        "REMIT_LOG_LEVEL": "warning",
        "REMIT_LOG_FORMAT": "console",
        **({"REMIT_AUTHZ_SCHEMA": str(settings.authz_schema)} if settings.authz_schema else {}),
    }
    command = [sys.executable, "-m", "remit", "serve", "--host", "127.0.0.1", "--port", str(port)]
    async with _process(command, environment) as process:
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(START_SECONDS * 10):
                if process.returncode is not None:
                    raise StepFailed(f"the server ended with code {process.returncode}; its words are above")
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{url}/readyz")).status_code == 200:
                        break
                await asyncio.sleep(0.1)
            else:
                raise StepFailed(f"the server was not ready in {START_SECONDS} seconds")
        yield


@asynccontextmanager
async def _agent(url: str) -> AsyncIterator[str]:
    command = [sys.executable, "-m", "remit.demo.agent", "--server", url, "--name", AGENT]
    command += ["--create-task", "housekeeping"]
    async with _process(command, dict(os.environ), stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None, "it was asked for"
        async with asyncio.timeout(START_SECONDS):
            task_id = await _read_task_id(process.stdout)
        yield task_id


async def _read_task_id(said: asyncio.StreamReader) -> str:
    async for line in said:
        fact = json.loads(line)
        if fact["event"] == "task":
            return str(fact["task_id"])
    raise StepFailed("the agent ended before it had made its task; its words are above")


@asynccontextmanager
async def _process(
    command: list[str], environment: dict[str, str], stdout: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=stdout)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def _invite(stage: Stage, cast: Cast) -> None:
    stage.begin("Now you")
    console = stage.console
    console.print(
        f"The server is at [bold]{cast.url}[/bold] and stays up until you press Ctrl-C. Keys:", soft_wrap=True
    )
    for name, key in cast.keys.items():
        console.print(f"  {name:<9} {key}", soft_wrap=True)
    rpc = f"{cast.url}/agents/name/{cast.agent}/rpc"
    alice, bob = cast.keys["alice"], cast.keys["bob"]
    call = '{"method":"message/send","params":{"content":{"type":"text","author":"user","content":"hello"}}}'
    console.print("\nFour things to try:")
    for line in (
        f"curl -s -H 'authorization: Bearer {alice}' {cast.url}/me",
        f"curl -s -H 'authorization: Bearer {alice}' -H 'content-type: application/json' -d '{call}' {rpc}",
        f"curl -s -H 'authorization: Bearer {alice}' '{cast.url}/tasks?creator=me'",
        f"curl -s -H 'authorization: Bearer {bob}' {cast.url}/tasks",
    ):
        console.print(f"  {line}", soft_wrap=True, markup=False)
