"""`remit doctor`: what is configured, reachable and migrated, in plain words, and what to do about the rest."""

import asyncio
import dataclasses
import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from remit.cli.context import AsJson, DataDir, configured, has_data, setting_variable
from remit.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from remit.db.pool import Connection
    from remit.settings import Settings

State = Literal["ok", "note", "todo"]
NEEDS_WORK = 1
SECONDS_TO_ANSWER = 2
AGENTS_AT_A_TIME = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do about it when it is not as it should be."""

    state: State
    what: str
    is_so: str
    do: str = ""


def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Do not call the agents.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Look at everything that Remit needs; exit code 0 if all is well, 1 if something needs doing.

    Example:

    $ remit doctor --offline
    """
    settings = configured(data_dir=data_dir)
    findings = asyncio.run(examine(settings, offline=offline))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [[finding.state, finding.what, finding.is_so] for finding in findings]
        print_table(["", "what", "how it is"], rows, {"ok": "green", "note": "cyan", "todo": "yellow"})
        for finding in findings:
            if finding.do:
                print_line(f"\n{finding.what}: {finding.do}")
    if any(finding.state == "todo" for finding in findings):
        raise typer.Exit(NEEDS_WORK)


def print_version() -> None:
    """Print the version.

    Example:

    $ remit version
    """
    from remit.version import __version__

    print_line(__version__)


async def examine(settings: "Settings", *, offline: bool) -> list[Finding]:
    """Everything, in the order in which it is needed; what rests on something that is missing is left out."""
    findings = [*_configuration(settings), _storage(settings), _enrolment(settings)]
    if has_data(settings):
        findings += await _database(settings, offline=offline)
    else:
        findings.append(
            Finding("todo", "database", f"there is none in {settings.data_dir} yet", "run `remit db upgrade`")
        )
    return [*findings, await _port(settings)]


def _configuration(settings: "Settings") -> list[Finding]:
    known = {setting_variable(name) for name in type(settings).model_fields}
    named = {name for name in os.environ if name.startswith("REMIT_")}
    used = ", ".join(sorted(named & known))
    findings = [Finding("ok", "settings", f"from the environment: {used}" if used else "all by default")]
    if strange := ", ".join(sorted(named - known)):
        findings.append(Finding("note", "settings", f"{strange}: not a setting, nothing reads it here"))
    return findings


def _storage(settings: "Settings") -> Finding:
    if settings.database_url is not None:
        return Finding("ok", "storage", "the server that REMIT_DATABASE_URL names")
    folder: Path = settings.data_dir
    existing = next(path for path in (folder, *folder.parents) if _exists(path))
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            "todo",
            "storage",
            f"{folder} cannot be written by this user",
            f"allow it on {existing}, or choose another folder with --data-dir or REMIT_DATA_DIR",
        )
    if existing != folder:
        return Finding("ok", "storage", f"{folder} will be made for an embedded PostgreSQL")
    return Finding("ok", "storage", f"an embedded PostgreSQL in {folder}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # in a folder that this user may not enter


def _enrolment(settings: "Settings") -> Finding:
    if settings.agent_enrollment == "open":
        tenant = f" in the tenant {settings.default_tenant}" if settings.default_tenant else ""
        return Finding("note", "enrolment", f"open: any process on this machine may register a new agent{tenant}")
    return Finding("ok", "enrolment", "by key: `remit agents enroll` gives an agent its own")


async def _port(settings: "Settings") -> Finding:
    place = f"{settings.host}:{settings.port}"
    if settings.port == 0:
        return Finding("ok", "port", "any free one")
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return Finding("todo", "port", f"{place}: {error.strerror}", "correct REMIT_HOST and REMIT_PORT")
        else:
            return Finding("ok", "port", f"{place} is free")
    match await _ask_remit(settings):
        case "ok":
            return Finding("ok", "port", f"{place} is a Remit server, which is ready")
        case None:
            return Finding(
                "todo", "port", f"{place} is used by another program", "stop that, or choose another with REMIT_PORT"
            )
        case status:
            return Finding(
                "todo", "port", f"{place} is a Remit server, which is not ready: {status}", "look at its log"
            )


async def _ask_remit(settings: "Settings") -> str | None:
    """`ok`, or what a Remit server on the port is missing; None if it is another program."""
    import httpx

    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    shown = f"[{host}]" if ":" in host else host
    try:
        async with httpx.AsyncClient(timeout=SECONDS_TO_ANSWER, trust_env=False) as client:
            said = (await client.get(f"http://{shown}:{settings.port}/readyz")).json()
        troubles = [f"{name}: {check}" for name, check in said["checks"].items() if check != "ok"]
        return None if "migrations" not in said["checks"] else "; ".join(troubles) or "ok"
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return None


async def _database(settings: "Settings", *, offline: bool) -> list[Finding]:
    from remit.db.connect import open_database
    from remit.db.errors import DatabaseSetupError
    from remit.db.pool import Database
    from remit.migrations.state import examine

    try:
        async with open_database(settings) as dsn:
            revision, problem = await asyncio.to_thread(examine, dsn)
            database = await Database.open(dsn, size=1)
            try:
                async with database.connection() as connection:
                    version = await connection.fetchval("SHOW server_version")
                    reached = Finding("ok", "database", f"PostgreSQL {version} answers")
                    if problem is not None:
                        return [reached, Finding("todo", "migrations", f"at {revision}", problem)]
                    migrated = Finding("ok", "migrations", f"at {revision}, which this version works with")
                    return [reached, migrated, *await _contents(settings, connection, offline=offline)]
            finally:
                await database.close()
    except DatabaseSetupError as error:
        return [Finding("todo", "database", "it cannot be used", str(error))]


async def _contents(settings: "Settings", connection: "Connection", *, offline: bool) -> list[Finding]:
    return [
        await _schema(settings, connection),
        *([] if settings.authz_engine == "embedded" or offline else [await _engine(settings, connection)]),
        await _tenants(settings, connection),
        *await _agents(settings, connection, offline=offline),
    ]


async def _schema(settings: "Settings", connection: "Connection") -> Finding:
    from remit.app import check_schema_answers
    from remit.authz.errors import AuthzError
    from remit.authz.load import load_engine

    # What the next start would use is looked at, and not stored.
    looking = connection.transaction()
    await looking.start()
    try:
        engine = await load_engine(connection, settings)
        check_schema_answers(engine)
    except AuthzError as error:
        return Finding(
            "todo",
            "schema",
            f"it does not answer what the routes ask: {error}",
            "correct the file of REMIT_AUTHZ_SCHEMA",
        )
    finally:
        await looking.rollback()
    return Finding("ok", "schema", "it answers every operation that a route asks")


async def _engine(settings: "Settings", connection: "Connection") -> Finding:
    """The engine elsewhere, which is asked and not told anything."""
    from remit.app import asked_permissions
    from remit.authz.errors import AuthzError
    from remit.authz.load import connect_remote, load_engine
    from remit.authz.remote import RemoteError
    from remit.authz.remote_watch import probe

    what, place = "engine", f"the engine elsewhere ({settings.authz_engine})"
    try:
        remote = connect_remote(settings)
    except (RuntimeError, AuthzError) as error:
        return Finding("todo", what, f"{place} is not set up", str(error))
    assert remote is not None, "the settings name one"
    looking = connection.transaction()
    await looking.start()
    try:
        engine = await load_engine(connection, settings)
        if await remote.find_schema_change(engine.schema) is not None:
            return Finding("todo", what, f"{place} has another schema", "start `remit serve`, which writes it")
        await probe(remote, asked_permissions())
    except RemoteError as error:
        return Finding("todo", what, f"{place} gives no answer: {error}", "see `docs/operations/outage.md`")
    except AuthzError as error:
        return Finding("todo", what, f"{place} cannot answer: {error}", "see `docs/operations/bad-schema.md`")
    finally:
        await looking.rollback()
        await remote.aclose()
    return Finding("ok", what, f"{place} answers every operation that a route asks")


async def _tenants(settings: "Settings", connection: "Connection") -> Finding:
    names = [row["name"] for row in await connection.fetch("SELECT name FROM tenants WHERE disabled_at IS NULL")]
    if not names:
        return Finding("todo", "tenants", "there are none", "run `remit tenants add NAME`")
    if settings.default_tenant is not None and settings.default_tenant not in names:
        return Finding(
            "todo",
            "tenants",
            f"REMIT_DEFAULT_TENANT is {settings.default_tenant}, and there is no such tenant",
            f"run `remit tenants add {settings.default_tenant}`, or correct the setting",
        )
    if settings.agent_enrollment == "open" and settings.default_tenant is None and len(names) > 1:
        return Finding(
            "todo", "tenants", f"{len(names)}, and agents enrol openly", "say whose they are with REMIT_DEFAULT_TENANT"
        )
    return Finding("ok", "tenants", f"{len(names)}")


async def _agents(settings: "Settings", connection: "Connection", *, offline: bool) -> list[Finding]:
    rows = await connection.fetch(
        "SELECT a.name, a.acp_url FROM agents a JOIN tenants n ON n.id = a.tenant_id "
        "WHERE a.status <> 'Deleted' AND n.disabled_at IS NULL ORDER BY a.name"
    )
    waiting = [row["name"] for row in rows if row["acp_url"] is None]
    listening = [row for row in rows if row["acp_url"] is not None]
    findings = []
    if waiting:
        do = "start each with the AGENT_API_KEY that `remit agents enroll` printed"
        findings.append(Finding("note", "agents", f"enrolled and not registered yet: {', '.join(waiting)}", do))
    if not listening:
        return findings or [Finding("ok", "agents", "none yet")]
    if offline:
        return [*findings, Finding("ok", "agents", f"{len(listening)} registered, not called")]
    answers = await _call_agents(settings, [row["acp_url"] for row in listening])
    silent = [row["name"] for row, answer in zip(listening, answers, strict=True) if not answer]
    if silent:
        do = "start their processes; `remit agents list --tenant TENANT` shows where they should listen"
        is_so = f"{len(silent)} of {len(listening)} do not answer: {', '.join(silent)}"
        return [*findings, Finding("todo", "agents", is_so, do)]
    return [*findings, Finding("ok", "agents", f"{len(listening)}, all answering")]


async def _call_agents(settings: "Settings", addresses: list[str]) -> list[bool]:
    """Whether each agent answers, a few of them asked at a time."""
    import httpx

    from remit.agents.addresses import AddressRefused, dial_address

    limit = asyncio.Semaphore(AGENTS_AT_A_TIME)

    async def call(client: httpx.AsyncClient, address: str) -> bool:
        async with limit:
            try:
                return (await client.get(f"{dial_address(address, settings)}/healthz")).is_success
            except (httpx.HTTPError, AddressRefused):
                return False

    async with httpx.AsyncClient(timeout=SECONDS_TO_ANSWER, trust_env=False) as client:
        return await asyncio.gather(*(call(client, address) for address in addresses))
