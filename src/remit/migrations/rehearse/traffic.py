"""What readers and writers of a table send."""

import random
from collections.abc import Iterable

from remit.migrations.rehearse.catalog import Column, Table
from remit.migrations.rehearse.probes import Spec
from remit.migrations.rehearse.recipe import quote
from remit.migrations.rehearse.server import Connection

_KEYS = 400
CONTROL = "(nothing)"


def make_specs(connection: Connection, tables: Iterable[Table], counts: dict[str, int]) -> list[Spec]:
    """A reader and a writer for each table, on rows of their own, and one probe that touches no table.

    The reader fetches rows by their key; the writer sets a column to what it was. Both send whole texts, so that a
    prepared plan is not what fails when a column changes.
    """
    specs = [Spec(CONTROL, "control", ("SELECT count(*) FROM generate_series(1, 20)",))]
    for table in tables:
        keys = _sample_keys(connection, table, counts.get(table.name, 0))
        half = len(keys) // 2
        chosen = _choose_column(table)
        column = quote(chosen.name) if chosen else ""
        reads = [f"SELECT * FROM {table.sql} WHERE {key}" for key in keys[half:]]
        writes = [f"UPDATE {table.sql} SET {column} = {column} WHERE {key}" for key in keys[:half]]
        one = f"(SELECT ctid FROM {table.sql} LIMIT 1)"
        specs.append(Spec(table.name, "reader", tuple(reads) or (f"SELECT * FROM {table.sql} LIMIT 1",)))
        if chosen is None or chosen.generated or chosen.identity:
            writes = [f"DELETE FROM {table.sql} WHERE false"]
        specs.append(
            Spec(
                table.name,
                "writer",
                tuple(writes) or (f"UPDATE {table.sql} SET {column} = {column} WHERE ctid = {one}",),
            )
        )
    return specs


def _sample_keys(connection: Connection, table: Table, rows: int) -> list[str]:
    if not table.primary_key or not rows:
        return []
    form = " AND ".join(f"{quote(name).replace('%', '%%')} = %L" for name in table.primary_key)
    names = ", ".join(map(quote, table.primary_key))
    picked = f"format({_literal(form)}, {names}) FROM {table.sql}".replace("%", "%%")
    found = connection.execute(
        f"SELECT {picked} WHERE random() < %s LIMIT %s".encode(),
        [_KEYS * 2 / rows, _KEYS],
    ).fetchall()
    keys = [key for (key,) in found]
    random.Random(0).shuffle(keys)  # noqa: S311 - no secret: the same order in each run
    return keys


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _choose_column(table: Table) -> Column | None:
    """A column whose change means the least: not of a key, not computed; None for a table without any."""
    unique = {name for names in table.unique for name in names}
    keyed = {name for key in table.foreign_keys for name in key.columns}
    return min(
        table.columns.values(),
        key=lambda column: (column.generated or column.identity, column.name in unique, column.name in keyed),
        default=None,
    )
