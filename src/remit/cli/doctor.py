"""`remit doctor`: what is configured, reachable and migrated, in plain words, and what to do about the rest."""

import asyncio
import dataclasses
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from remit.cli.context import AsJson, DataDir, configured, has_data
from remit.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from remit.db.pool import Connection
    from remit.settings import Settings

State = Literal["ok", "note", "todo"]
NEEDS_WORK = 1
AGENT_SECONDS = 2


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
    findings = [_configuration(), _storage(settings), _enrolment(settings)]
    if has_data(settings):
        findings += await _database(settings, offline=offline)
    else:
        findings.append(
            Finding("todo", "database", f"there is none in {settings.data_dir} yet", "run `remit db upgrade`")
        )
    return [*findings, _port(settings)]


def _configuration() -> Finding:
    named = sorted(name for name in os.environ if name.startswith("REMIT_"))
    return Finding("ok", "settings", f"from the environment: {', '.join(named)}" if named else "all by default")


def _storage(settings: "Settings") -> Finding:
    if settings.database_url is not None:
        return Finding("ok", "storage", "the server that REMIT_DATABASE_URL names")
    folder: Path = settings.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            "todo",
            "storage",
            f"{folder} cannot be written by this user",
            f"allow it on {existing}, or choose another folder with --data-dir or REMIT_DATA_DIR",
        )
    return Finding("ok", "storage", f"an embedded PostgreSQL in {folder}")


def _enrolment(settings: "Settings") -> Finding:
    if settings.agent_enrollment == "open":
        return Finding("note", "enrolment", "open: any process on this machine may register a new agent")
    return Finding("ok", "enrolment", "by key: `remit agents enroll` gives an agent its own")


def _port(settings: "Settings") -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            return Finding(
                "note", "port", f"{settings.host}:{settings.port} is in use, by a running Remit or another program"
            )
    return Finding("ok", "port", f"{settings.host}:{settings.port} is free")


async def _database(settings: "Settings", *, offline: bool) -> list[Finding]:
    from remit.db.connect import open_database
    from remit.db.errors import DatabaseSetupError
    from remit.db.pool import Database
    from remit.migrations.run import current, head_revision

    try:
        async with open_database(settings) as dsn:
            revision = await asyncio.to_thread(current, dsn)
            database = await Database.open(dsn, size=1)
            try:
                async with database.connection() as connection:
                    version = connection.get_server_version()
                    reached = Finding("ok", "database", f"PostgreSQL {version.major}.{version.minor} answers")
                    if revision != head_revision():
                        return [reached, Finding("todo", "migrations", f"at {revision}", "run `remit db upgrade`")]
                    migrated = Finding("ok", "migrations", f"at {revision}, the newest")
                    return [reached, migrated, *await _contents(settings, connection, offline=offline)]
            finally:
                await database.close()
    except DatabaseSetupError as error:
        return [Finding("todo", "database", "it cannot be used", str(error))]


async def _contents(settings: "Settings", connection: "Connection", *, offline: bool) -> list[Finding]:
    looks: list[Callable[[], Awaitable[Finding]]] = [
        lambda: _schema(settings, connection),
        lambda: _tenants(settings, connection),
    ]
    if not offline:
        looks.append(lambda: _agents(settings, connection))
    return [await look() for look in looks]


async def _schema(settings: "Settings", connection: "Connection") -> Finding:
    from remit.app import asked_permissions
    from remit.authz.errors import AuthzError
    from remit.authz.load import load_engine
    from remit.authz.model import Subject
    from remit.db.params import Params

    try:
        engine = await load_engine(connection, settings)
        for question in sorted(asked_permissions()):
            type, _, permission = question.partition(".")
            engine.check_sql(Params(), Subject("user", "0" * 8), permission, type, "NULL::uuid")
    except AuthzError as error:
        return Finding(
            "todo",
            "schema",
            f"it does not answer what the routes ask: {error}",
            "correct the file of REMIT_AUTHZ_SCHEMA",
        )
    return Finding("ok", "schema", "it answers every operation that a route asks")


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


async def _agents(settings: "Settings", connection: "Connection") -> Finding:
    import httpx

    from remit.agents.addresses import AddressRefused, dial_address

    rows = await connection.fetch("SELECT name, acp_url FROM agents WHERE status <> 'Deleted' ORDER BY name")
    silent = []
    async with httpx.AsyncClient(timeout=AGENT_SECONDS, trust_env=False) as client:
        for row in rows:
            try:
                healthy = (
                    row["acp_url"] is not None
                    and (await client.get(f"{dial_address(row['acp_url'], settings)}/healthz")).is_success
                )
            except (httpx.HTTPError, AddressRefused):
                healthy = False
            if not healthy:
                silent.append(row["name"])
    if silent:
        return Finding(
            "todo",
            "agents",
            f"{len(silent)} of {len(rows)} do not answer: {', '.join(silent)}",
            "start their processes; `remit agents list --tenant TENANT` shows where they should listen",
        )
    return Finding("ok", "agents", f"{len(rows)}, all answering" if rows else "none yet")
