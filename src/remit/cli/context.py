"""What every command begins with: its settings, and the database to administer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from remit.authz.engine import Engine
    from remit.db.pool import Connection, Database
    from remit.settings import Settings

Result = TypeVar("Result")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the embedded PostgreSQL keeps its data.")]
OfTenant = Annotated[str, typer.Option("--tenant", help="The tenant, by name or id.")]


class CommandError(Exception):
    """Ends the command with this one line, which says what to do."""


def fail(message: str) -> NoReturn:
    """End the command with `error: message` and exit code 2."""
    raise CommandError(message)


def configured(**overrides: Any) -> "Settings":
    """The settings of the environment with those of the command line, which win; None is one that was not given.

    Raises:
        CommandError: a setting does not fit; its value, which may be a secret, is not repeated.
    """
    from pydantic import ValidationError

    from remit.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    if "data_dir" in given:
        given["database_url"] = None  # the data directory that was asked for, not the environment's server
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems = (f"{setting_variable(*problem['loc'])}: {problem['msg']}" for problem in error.errors())
        fail("a setting does not fit: " + "; ".join(problems))
    if settings.database_url is not None:
        _check_url(settings.database_url.get_secret_value())
    return settings


def setting_variable(*location: object) -> str:
    """The environment variable of a setting."""
    return "_".join(["REMIT", *(str(part).upper() for part in location)])


def _check_url(url: str) -> None:
    """Refuse what libpq would refuse or misread: its own message may repeat a part of the password."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        parts = {"port": "unreadable"}
    ports = str(parts.get("port") or "5432").split(",")
    if not url.startswith(("postgresql://", "postgres://")) or not all(port.isdecimal() for port in ports):
        fail(
            "REMIT_DATABASE_URL does not look like postgresql://user:password@host:5432/name; "
            "write special characters of the password as %40 and the like"
        )


@dataclass(frozen=True, slots=True)
class Session:
    """A transaction on the database, and the engine in it. Everything a command changes stays, or nothing does."""

    settings: "Settings"
    connection: "Connection"
    engine: "Engine"


def administer(data_dir: Path | None, work: Callable[[Session], Awaitable[Result]]) -> Result:
    """Do a command's work in one transaction on the database, which must be migrated.

    Args:
        data_dir: what the command line says about it.
        work: the work.

    Raises:
        CommandError, DatabaseSetupError: as `migrated_database`.
    """
    return asyncio.run(_administer(configured(data_dir=data_dir), work))


async def _administer(settings: "Settings", work: Callable[[Session], Awaitable[Result]]) -> Result:
    from remit.authz.load import load_engine

    async with migrated_database(settings) as database, database.transaction() as connection:
        return await work(Session(settings, connection, await load_engine(connection, settings)))


@asynccontextmanager
async def migrated_database(settings: "Settings", size: int = 1) -> AsyncIterator["Database"]:
    """The database of a command, which must be there and migrated.

    Args:
        settings: say which.
        size: most connections.

    Raises:
        CommandError, DatabaseSetupError: there is no such database, or it is not migrated; the message says what to do.
    """
    from remit.db.connect import open_database
    from remit.db.pool import Database
    from remit.migrations.state import check_revision

    if not has_data(settings):
        fail(f"there is no database in {settings.data_dir} yet: run `remit db upgrade`")
    async with open_database(settings) as dsn:
        await asyncio.to_thread(check_revision, dsn)
        database = await Database.open(dsn, size=size, timeout=settings.pool_timeout)
        try:
            yield database
        finally:
            await database.close()


def has_data(settings: "Settings") -> bool:
    """Whether there is a database to open: only `remit db upgrade` and `remit serve` make one."""
    if settings.database_url is not None:
        return True
    try:
        return (settings.data_dir / "postgres" / "current").is_file()
    except OSError:
        return True  # whoever opens it says why that cannot be done
