"""Whether the queries of the code before a revision still work after it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from remit.migrations.lint.parse import SyntaxUnknownError, parse
from remit.migrations.rehearse.errors import RehearseError
from remit.migrations.rehearse.model import QueryResult
from remit.migrations.rehearse.server import Connection

_WRITES = ("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")


def read_queries(file: Path) -> list[str]:
    """The statements of a file, with `$1`, `$2` and so on for values.

    Raises:
        RehearseError: the file cannot be read, or PostgreSQL's grammar does not have one of them.
    """
    try:
        return [part.sql for part in parse(file.read_text())]
    except OSError as error:
        raise RehearseError(f"--old-queries: cannot read {file}: {error.strerror}") from error
    except SyntaxUnknownError as error:
        raise RehearseError(f"--old-queries: {file}: {error}; values are written as $1, $2 and so on") from error


class OldQueries:
    """The queries, prepared before the revision in a session that stays open, as the running code has them."""

    def __init__(self, connection: Connection, queries: Sequence[str]) -> None:
        self._connection = connection
        self._queries = queries
        self._values: list[int] = []
        self._before: list[str | None] = []
        for number, query in enumerate(queries):
            name = sql.Identifier(f"old_{number}").as_string(connection)
            try:
                connection.execute(f"PREPARE {name} AS {query}".encode())
                row = connection.execute(
                    "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = %s", [f"old_{number}"]
                ).fetchone()
            except psycopg.Error as error:
                raise RehearseError(
                    f"--old-queries: a query does not work even before the revision ({_describe(error)}): {query}"
                ) from error
            self._values.append(row[0] if row else 0)
            self._before.append(self._run(number))

    def try_again(self) -> list[QueryResult]:
        """What became of each after the revision."""
        return [QueryResult(query, self._judge(number, query)) for number, query in enumerate(self._queries)]

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
