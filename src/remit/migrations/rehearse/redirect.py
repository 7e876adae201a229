"""Every database connection of this process goes to the scratch database, whatever the project's settings say."""

import functools
import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.engine import Engine

from remit.migrations.rehearse.errors import RehearseError

_PLACES = (
    "host", "hostaddr", "port", "user", "username", "password", "passfile", "dbname", "database", "service", "dsn",
    "conninfo", "sslmode", "ssl", "ssl_context", "sslcert", "sslkey", "sslrootcert", "unix_sock",
)  # fmt: skip
_ENDED_ITSELF = "remit_ended_itself"
_SUBSTITUTES = {
    "psycopg2": "PGDialect_psycopg", "psycopg2cffi": "PGDialect_psycopg", "pg8000": "PGDialect_psycopg",
    "asyncpg": "PGDialectAsync_psycopg",
}  # fmt: skip
_DRIVERS = (
    ("psycopg", "connect"),
    ("psycopg", "Connection.connect"),
    ("psycopg", "AsyncConnection.connect"),
    ("psycopg2", "connect"),
    ("asyncpg", "connect"),
)


def redirect(dsn: str) -> None:
    """Send SQLAlchemy's connections to `dsn`, and let a driver that is called directly connect to nothing else.

    Opening another server later raises RehearseError, as does a database that is not PostgreSQL. There is no way
    back: the process is made for one run.
    """
    place = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}

    def change(dialect: Any, _: Any, positional: list[Any], named: dict[str, Any]) -> None:
        if dialect.name != "postgresql":
            raise RehearseError(f"env.py opens a {dialect.name} database: the rehearsal is for PostgreSQL")
        positional.clear()
        for name in _PLACES:
            named.pop(name, None)
        named.update(_describe(place, dialect.driver))

    event.listen(Engine, "do_connect", change)
    _substitute_missing_drivers()
    for module, name in _DRIVERS:
        if find_spec(module) is not None:
            _guard(module, name, place["host"])
    os.environ.update(
        PGHOST=place["host"], PGPORT=place["port"], PGUSER=place["user"], PGDATABASE=place["dbname"], PGPASSWORD=""
    )
    os.environ.pop("PGSERVICE", None)


def _substitute_missing_drivers() -> None:
    """Let psycopg stand in for a driver that is not installed here: the statements are the same."""
    module = "sqlalchemy.dialects.postgresql.psycopg"
    for driver, dialect in _SUBSTITUTES.items():
        if find_spec(driver) is None:
            registry.register(f"postgresql.{driver}", module, dialect)
    if find_spec("psycopg2") is None:  # what a URL without a driver means to SQLAlchemy before 2.1
        registry.register("postgresql", module, "PGDialect_psycopg")
        event.listen(Engine, "after_cursor_execute", _leave_open)
        event.listen(Engine, "commit", _end)
        event.listen(Engine, "rollback", _end)


def _leave_open(connection: Any, _: Any, statement: str, *__: Any) -> None:
    """After a COMMIT that a revision sends itself, psycopg2 opens no transaction until it has ended one: so here."""
    if statement.strip(" ;\n").upper() in ("COMMIT", "END", "ROLLBACK") and _stands_for_psycopg2(connection):
        connection.info[_ENDED_ITSELF] = True
        connection.connection.dbapi_connection.autocommit = True


def _end(connection: Any) -> None:
    if connection.info.pop(_ENDED_ITSELF, False):
        connection.connection.dbapi_connection.autocommit = False


def _stands_for_psycopg2(connection: Any) -> bool:
    return bool(connection.engine.url.drivername == "postgresql+psycopg2")


def _describe(place: dict[str, str], driver: str) -> dict[str, Any]:
    user, port = place["user"], int(place["port"])
    match driver:
        case "asyncpg":
            return {"host": place["host"], "port": port, "user": user, "database": place["dbname"]}
        case "pg8000":
            return {"unix_sock": f"{place['host']}/.s.PGSQL.{port}", "user": user, "database": place["dbname"]}
    return {"host": place["host"], "port": port, "user": user, "dbname": place["dbname"]}


def _guard(module: str, name: str, host: str) -> None:
    owner: Any = import_module(module)
    *path, attribute = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, attribute)

    @functools.wraps(original)
    def guarded(*positional: Any, **named: Any) -> Any:
        text = str(positional[0]) if positional else str(named.get("conninfo") or named.get("dsn") or "")
        asked = named.get("host") or conninfo_to_dict(text).get("host") or os.environ.get("PGHOST")
        if asked != host:
            raise RehearseError(
                f"env.py connects to {asked} itself, and the rehearsal touches no server but its own: let it read the "
                "URL from sqlalchemy.url or from an environment variable, and name that with --url-variable"
            )
        return original(*positional, **named)

    setattr(owner, attribute, guarded)
