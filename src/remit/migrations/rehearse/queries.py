"""Whether the queries of the code before a revision still work after it."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from remit.migrations.lint.parse import SyntaxUnknownError, parse, walk
from remit.migrations.rehearse.catalog import Table
from remit.migrations.rehearse.errors import RehearseError
from remit.migrations.rehearse.model import QueryResult
from remit.migrations.rehearse.recipe import quote
from remit.migrations.rehearse.server import Connection
from remit.migrations.rehearse.statistics import open_read_only

_MOST_SAMPLED = 200
_HIDDEN = "<insufficient privilege>"
_WRITES = ("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")


def read_queries(file: Path) -> list[str]:
    """The statements of a file, with `$1`, `$2` and so on for values.

    Raises:
        RehearseError: the file cannot be read, or PostgreSQL's grammar does not have one of them.
    """
    try:
        return [part.sql for part in parse(file.read_text())]
    except (OSError, UnicodeDecodeError) as error:
        raise RehearseError(f"--old-queries: cannot read {file}: {error}") from error
    except SyntaxUnknownError as error:
        raise RehearseError(f"--old-queries: {file}: {error}; values are written as $1, $2 and so on") from error


def make_up_queries(tables: Iterable[Table]) -> list[str]:
    """What an ORM sends that knows the tables as they are: it names each column, and takes rows that are there."""
    found = []
    for table in tables:
        if not table.columns:
            continue
        every = ", ".join(map(quote, table.columns))
        found.append(f"SELECT {every} FROM {table.sql}")
        given = ", ".join(quote(name) for name, column in table.columns.items() if not column.generated)
        if given:
            found.append(
                f"INSERT INTO {table.sql} ({given}) OVERRIDING SYSTEM VALUE SELECT {given} FROM {table.sql} LIMIT 1 "
                "ON CONFLICT DO NOTHING"
            )
    return found


def sample_queries(dsn: str, tables: Iterable[Table]) -> tuple[list[str], str | None]:
    """The most frequent queries of a real server on some tables, from `pg_stat_statements`: texts without values.

    Returns them, or why there are none.
    """
    names = {table.name.rpartition(".")[2] for table in tables}
    try:
        texts = _read_statements(dsn)
    except psycopg.errors.ObjectNotInPrerequisiteState:
        return [], "its server was not started with pg_stat_statements in shared_preload_libraries"
    except psycopg.Error as error:
        return [], _describe(error)
    if texts is None:
        return [], "pg_stat_statements is not installed in that database"
    found = [text for query in texts for text in _choose(query, names)]
    if not found and _HIDDEN in texts:
        return [], "its role may not see the queries of others; grant it pg_read_all_stats"
    return list(dict.fromkeys(found))[:_MOST_SAMPLED], None if found else "it has run none on these tables"


def _read_statements(dsn: str) -> list[str] | None:
    with open_read_only(dsn) as connection:
        row = connection.execute(
            "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
            "WHERE extname = 'pg_stat_statements'"
        ).fetchone()
        if row is None:
            return None
        rows = connection.execute(
            sql.SQL(
                "SELECT query FROM {} WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                "GROUP BY query ORDER BY sum(calls) DESC LIMIT 2000"
            ).format(sql.Identifier(row[0], "pg_stat_statements"))
        )
        return [query for (query,) in rows]


def _choose(query: str, names: set[str]) -> list[str]:
    """The query as a list, if it reads or writes one of the tables."""
    try:
        parts = parse(query)
    except SyntaxUnknownError:
        return []
    touched = {node["relname"] for part in parts for _, node in walk(dict(part.body)) if "relname" in node}
    fits = len(parts) == 1 and parts[0].kind in ("select_stmt", *_WRITES) and touched & names
    return [parts[0].sql] if fits else []


class OldQueries:
    """The queries, prepared before the revision in a session that stays open, as the running code has them.

    Args:
        connection: of a database at the revision before.
        queries: that somebody named; each has to work.
        sampled: that a server was seen to run, and `made_up`, that nobody was. Those that do not work here are left
            out.
    """

    def __init__(
        self, connection: Connection, queries: Sequence[str], sampled: Sequence[str] = (), made_up: Sequence[str] = ()
    ) -> None:
        self._connection = connection
        self._queries: list[str] = []
        self._made_up = frozenset(made_up) - {*queries, *sampled}
        self._values: list[int] = []
        self._before: list[str | None] = []
        for query in queries:
            self._prepare(query)
        for query in dict.fromkeys((*sampled, *made_up)):
            if query not in queries:
                with suppress(RehearseError):
                    self._prepare(query)

    def _prepare(self, query: str) -> None:
        number = len(self._queries)
        name = sql.Identifier(f"old_{number}").as_string(self._connection)
        try:
            self._connection.execute(f"PREPARE {name} AS {query}".encode())
            row = self._connection.execute(
                "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = %s", [f"old_{number}"]
            ).fetchone()
        except psycopg.Error as error:
            raise RehearseError(
                f"--old-queries: a query does not work even before the revision ({_describe(error)}): {query}"
            ) from error
        self._queries.append(query)
        self._values.append(row[0] if row else 0)
        self._before.append(self._run(number))

    def try_again(self) -> list[QueryResult]:
        """What became of each after the revision."""
        return [
            QueryResult(query, self._judge(number, query), query in self._made_up)
            for number, query in enumerate(self._queries)
        ]

    def _judge(self, number: int, query: str) -> str | None:
        try:
            with self._connection.transaction(force_rollback=True):
                self._connection.execute(f"PREPARE once AS {query}".encode())
        except psycopg.Error as error:
            return _describe(error)
        with suppress(psycopg.Error):
            self._connection.execute("DEALLOCATE once")
        found = self._run(number)
        return found if found != self._before[number] else None

    def _run(self, number: int) -> str | None:
        """Plan it and, where it has no values to fill in, execute it; whatever it does is undone."""
        values = ", ".join(["NULL"] * self._values[number])
        call = f"EXECUTE old_{number}" + (f"({values})" if values else "")
        writes = not values and any(part.kind in _WRITES for part in parse(self._queries[number]))
        try:
            with self._connection.transaction(force_rollback=True):
                self._connection.execute(f"EXPLAIN {call}".encode())
                if writes:
                    self._connection.execute(call.encode())
        except psycopg.Error as error:
            return _describe(error)
        return None


def _describe(error: psycopg.Error) -> str:
    message: Any = error.diag.message_primary
    return message or " ".join(str(error).split())
