"""The code of before, beside the migration and after it."""

import asyncio
from typing import Any

import asyncpg
import psycopg
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from corpus_truth.case import Bench, Evidence, Place
from corpus_truth.watch import shorten_error
from remit.migrations.runner.guard import listen

_COLUMNS = """
SELECT format('SELECT %I FROM %I LIMIT 1', attname, relname) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
AND relname <> 'alembic_version'
UNION ALL SELECT format('SELECT %L::%I', enumlabel, typname) FROM pg_enum JOIN pg_type t ON t.oid = enumtypid ORDER BY 1
"""


def prove_old_queries(bench: Bench, rule: str, case: str) -> Evidence:
    """The queries of the application, or one for each column and enum value, before and after."""
    with bench.open(rule, case) as place:
        queries = _list_queries(place)
        with place.server.connect(place.database) as connection:
            before = [_try(connection, query) for query in queries]
            assert not any(before), before
            place.upgrade()
            after = {query: error for query in queries if (error := _try(connection, query))}
    if after:
        query, error = next(iter(after.items()))
        return Evidence(True, f"`{query}` fails afterwards: {error}")
    return Evidence(False, f"all {len(queries)} queries of before still run")


def _list_queries(place: Place) -> list[str]:
    if not (place.folder / "app.py").exists():
        with place.server.connect(place.database) as connection:
            return [str(query) for (query,) in connection.execute(_COLUMNS.encode())]
    found = []
    for value in vars(place.load_app()).values():
        if isinstance(value, str) and value.startswith(("SELECT ", "INSERT ")):
            found.append(value.replace(":user_id", "1001"))
        elif hasattr(value, "__table__"):
            statement = select(value).limit(1)
            compiled = statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
            found.append(" ".join(str(compiled).split()))
    return found


def _try(connection: Any, query: str) -> str:
    try:
        connection.execute(query.encode())
    except psycopg.Error as error:
        return shorten_error(error)
    return ""


def prove_kept_plans(bench: Bench, rule: str, case: str) -> Evidence:
    """The application's functions over one connection of asyncpg, before and after, in transactions."""
    with bench.open(rule, case) as place:
        errors = asyncio.run(_keep_plans(place))
    if errors:
        return Evidence(True, f"the same connection afterwards: {errors[0]}")
    return Evidence(False, "the same connection answers as before")


async def _keep_plans(place: Place) -> list[str]:
    app = place.load_app()
    connection = await asyncpg.connect(place.server.dsn(place.database))
    errors = []
    try:
        for name in ("list_users", "list_orders"):
            await getattr(app, name)(connection)
        await asyncio.to_thread(place.upgrade)
        for name in ("list_users", "list_orders"):
            try:
                async with connection.transaction():
                    await getattr(app, name)(connection)
            except asyncpg.PostgresError as error:
                errors.append(f"`{name}` raises {type(error).__name__}: {shorten_error(error)}")
    finally:
        await connection.close()
    return errors


def prove_conflict_targets(bench: Bench, rule: str, case: str) -> Evidence:
    """The application's INSERT … ON CONFLICT after each statement of the migration."""
    with bench.open(rule, case) as place:
        place.upgrade("0002")
        app = place.load_app()
        errors: list[str] = []
        keys = iter(range(1, 1000))

        async def remember() -> None:
            connection = await asyncpg.connect(place.server.dsn(place.database))
            try:
                await app.remember(connection, next(keys), "new@example.org")
            except asyncpg.PostgresError as error:
                errors.append(shorten_error(error))
            finally:
                await connection.close()

        def after(connection: Any, _: object, statement: str, *__: object) -> None:
            if "alembic_version" not in statement and connection.connection.driver_connection.autocommit:
                asyncio.run(remember())

        with listen(after_cursor_execute=after):
            place.upgrade()
    if errors:
        return Evidence(True, f"between two statements: {errors[0]}")
    return Evidence(False, "the INSERT runs after each statement")
