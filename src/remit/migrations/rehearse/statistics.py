"""Proportions read from a real server's statistics. Never its data: no most common value, no histogram is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from remit.migrations.rehearse.errors import RehearseError


@dataclass(frozen=True)
class ColumnStatistics:
    """What the planner knows of a column, as numbers.

    Args:
        null_fraction: 0 to 1.
        n_distinct: as in `pg_stats`: negative for a share of the rows.
        width: the average, in bytes.
        frequencies: of the most common values, without the values.
    """

    null_fraction: float
    n_distinct: float
    width: int
    frequencies: tuple[float, ...] = ()

    def count_distinct(self, rows: int) -> int:
        """How many values the column has in a table of so many rows."""
        return max(1, int(self.n_distinct if self.n_distinct >= 0 else -self.n_distinct * rows))


@dataclass(frozen=True)
class TableStatistics:
    """What the planner knows of a table."""

    rows: int
    columns: Mapping[str, ColumnStatistics] = field(default_factory=dict)


def open_read_only(dsn: str) -> psycopg.Connection[Any]:
    """A session on a real server that can change nothing there."""
    return psycopg.connect(
        dsn, connect_timeout=10, options="-c default_transaction_read_only=on", application_name="remit rehearse"
    )


def read_statistics(dsn: str, tables: Iterable[str]) -> dict[str, TableStatistics]:
    """Read the statistics of some tables, in a read-only session.

    Args:
        dsn: a server that the caller named.
        tables: names, with their schema unless it is `public`.

    Raises:
        RehearseError: the server cannot be reached, or a table has no statistics there.
    """
    found = {}
    try:
        with open_read_only(dsn) as connection:
            for name in tables:
                schema, _, table = name.rpartition(".")
                row = connection.execute(
                    "SELECT greatest(c.reltuples, (SELECT sum(greatest(p.reltuples, 0)) FROM pg_inherits i "
                    "JOIN pg_class p ON p.oid = i.inhrelid WHERE i.inhparent = c.oid))::bigint "
                    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                    "WHERE n.nspname = %s AND c.relname = %s",
                    [schema or "public", table],
                ).fetchone()
                if row is None:
                    raise RehearseError(f"--stats-from: there is no table {name} on that server")
                if row[0] < 0:
                    raise RehearseError(f"--stats-from: {name} was never analyzed on that server: run ANALYZE there")
                columns = connection.execute(
                    "SELECT DISTINCT ON (attname) attname, null_frac, n_distinct, avg_width, most_common_freqs "
                    "FROM pg_stats WHERE schemaname = %s AND tablename = %s ORDER BY attname, inherited DESC",
                    [schema or "public", table],
                ).fetchall()
                found[name] = TableStatistics(
                    row[0], {name: ColumnStatistics(nulls, n, w, tuple(f or ())) for name, nulls, n, w, f in columns}
                )
    except psycopg.Error as error:
        raise RehearseError(f"--stats-from: {' '.join(str(error).split())}") from error
    return found
