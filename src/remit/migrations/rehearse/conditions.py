"""Values that satisfy CHECKs: the database itself says which of the proposed ones do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import psycopg

from remit.migrations.lint.parse import walk
from remit.migrations.rehearse.catalog import Check, Column
from remit.migrations.rehearse.errors import NoRowFitsError
from remit.migrations.rehearse.proposals import read_tree
from remit.migrations.rehearse.server import Connection, fetch_value
from remit.migrations.rehearse.values import NULL, Value

_TRIED_ROWS = 4
_ROWS = "unnest(ARRAY[1, 2, 777, 123456]::bigint[]) AS rows(g)"
_MOST_TOGETHER = 30_000
_MOST_KEPT = 24
_MOST_PROVEN = 200
_PROOF = 20_000

Combination = dict[str, Value]


@dataclass(frozen=True)
class Group:
    """Columns that conditions tie together, and the ways in which a row can have them."""

    columns: tuple[str, ...]
    combinations: tuple[Combination, ...]


def find_columns(check: Check, known: Mapping[str, Column]) -> set[str]:
    """The columns that a condition names."""
    return {name for name in _find_names(check.expression) if name in known}


def _find_names(expression: str) -> set[str]:
    found = set()
    for kind, node in walk(dict(read_tree(expression))):
        if kind == "column_ref":
            found |= {field["string"]["sval"] for field in node.get("fields", ()) if "string" in field}
    return found


def group_columns(checks: Sequence[Check], columns: Mapping[str, Column]) -> list[tuple[set[str], list[Check]]]:
    """The columns that belong together, with their conditions."""
    groups: list[tuple[set[str], list[Check]]] = []
    for check in checks:
        names, own = find_columns(check, columns), [check]
        if not names:
            continue
        for other in [group for group in groups if group[0] & names]:
            groups.remove(other)
            names, own = names | other[0], [*other[1], *own]
        groups.append((names, own))
    return groups


def solve(
    connection: Connection,
    table: str,
    columns: Mapping[str, Column],
    checks: Sequence[Check],
    candidates: Mapping[str, Sequence[Value]],
) -> Group:
    """The ways in which a row can satisfy all of the conditions.

    Args:
        connection: of a scratch database.
        table: its name, for messages.
        columns: those that the conditions name.
        checks: the conditions.
        candidates: what each column may be.

    Raises:
        NoRowFitsError: one of the conditions refuses everything that was tried.
    """
    usable = {name: keep_usable(connection, columns[name], candidates[name]) for name in columns}
    for name, values in usable.items():
        if not values:
            raise NoRowFitsError(
                f"{table}.{name}: no value of type {columns[name].type} could be made for the CHECK "
                f"{checks[0].name}; give rows of your own with --seed-sql FILE"
            )
    combinations = _try_together(connection, columns, checks, _shorten(usable))
    if not combinations:
        _name_refusing(connection, table, columns, checks, usable)
    combinations.sort(key=lambda chosen: sum(value is NULL for value in chosen.values()))
    proven: list[Combination] = []
    for chosen in combinations[:_MOST_PROVEN]:
        if _holds_for_many(connection, columns, checks, chosen):
            proven.append(chosen)
        if len(proven) == _MOST_KEPT:
            break
    return Group(tuple(columns), tuple(proven or combinations[:_MOST_KEPT]))


def _holds_for_many(
    connection: Connection, columns: Mapping[str, Column], checks: Sequence[Check], chosen: Combination
) -> bool:
    """Whether the conditions hold for so many rows that an exception would be a rare one."""
    picked = ", ".join(f"({value.evaluated})::{columns[name].type} AS {_quote(name)}" for name, value in chosen.items())
    question = (
        f"SELECT NOT EXISTS (SELECT FROM (SELECT {picked} FROM generate_series(1::bigint, {_PROOF}) AS rows(g) "
        f"OFFSET 0) AS made WHERE NOT ({_conjoin(columns, checks)}))"
    )
    try:
        return bool(fetch_value(connection, question))
    except psycopg.Error:
        return False


def _conjoin(columns: Mapping[str, Column], checks: Sequence[Check]) -> str:
    conditions = [f"(({check.expression}) IS NOT FALSE)" for check in checks]
    conditions += [
        f"(SELECT ({check.expression}) IS NOT FALSE FROM (SELECT {_quote(name)} AS value) AS domain)"
        for name in columns
        for check in columns[name].domain_checks
    ]
    return " AND ".join(conditions) or "true"


def keep_usable(connection: Connection, column: Column, candidates: Sequence[Value]) -> list[Value]:
    """Those that are values of the column's type at all."""
    found = []
    for value in dict.fromkeys(candidates):
        try:
            connection.execute(f"SELECT ({value.evaluated})::{column.type} FROM {_ROWS}".encode())
        except psycopg.Error:
            continue
        found.append(value)
    return found


def _shorten(candidates: Mapping[str, Sequence[Value]]) -> dict[str, list[Value]]:
    """Fewer candidates for each column where all of them together would be too many."""
    found = {name: list(values) for name, values in candidates.items()}
    while _count(found) > _MOST_TOGETHER:
        longest = max(found, key=lambda name: len(found[name]))
        found[longest] = found[longest][: len(found[longest]) - 1]
    return found


def _count(candidates: Mapping[str, Sequence[Value]]) -> int:
    total = 1
    for values in candidates.values():
        total *= len(values)
    return total


def _try_together(
    connection: Connection,
    columns: Mapping[str, Column],
    checks: Sequence[Check],
    candidates: Mapping[str, Sequence[Value]],
) -> list[Combination]:
    names = list(columns)
    sources, picked = [_ROWS], []
    for number, name in enumerate(names):
        values = ", ".join(
            f"({index}, ({value.evaluated})::{columns[name].type})" for index, value in enumerate(candidates[name])
        )
        sources.append(f"LATERAL (VALUES {values}) AS c{number}(i{number}, {_quote(name)})")
        picked.append(f"i{number}")
    question = (
        f"SELECT {', '.join(picked)} FROM {', '.join(sources)} WHERE {_conjoin(columns, checks)} "
        f"GROUP BY {', '.join(picked)} HAVING count(*) = {_TRIED_ROWS} ORDER BY {', '.join(picked)}"
    )
    try:
        rows = connection.execute(question.encode())
        return [_combine(names, candidates, row) for row in rows]
    except psycopg.Error:
        return _try_one_by_one(connection, question, names, candidates)


def _combine(names: Sequence[str], candidates: Mapping[str, Sequence[Value]], row: Sequence[int]) -> Combination:
    return {name: candidates[name][index] for name, index in zip(names, row, strict=True)}


def _try_one_by_one(
    connection: Connection, question: str, names: Sequence[str], candidates: Mapping[str, Sequence[Value]]
) -> list[Combination]:
    """For a condition that raises for some values: leave out what makes it raise."""
    found = []
    limited = {name: list(values)[:8] for name, values in candidates.items()}
    head, _, tail = question.partition(" GROUP BY ")
    for row in list(product(*(range(len(limited[name])) for name in names)))[:500]:
        only = " AND ".join(f"i{number} = {index}" for number, index in enumerate(row))
        source, _, condition = head.partition(" WHERE ")
        text = f"{source} WHERE CASE WHEN {only} THEN {condition} ELSE false END GROUP BY {tail}"
        try:
            if connection.execute(text.encode()).fetchone():
                found.append(_combine(names, candidates, row))
        except psycopg.Error:
            continue
    return found


def _name_refusing(
    connection: Connection,
    table: str,
    columns: Mapping[str, Column],
    checks: Sequence[Check],
    candidates: Mapping[str, Sequence[Value]],
) -> None:
    every = [*checks, *(check for column in columns.values() for check in column.domain_checks)]
    alone = []
    for check in checks:
        names = find_columns(check, columns)
        own = {name: columns[name] for name in columns if name in names}
        if not _try_together(connection, own, [check], _shorten({name: candidates[name] for name in own})):
            alone.append(check)
    refusing = alone or every
    what = ", ".join(f"{check.name}: {check.expression}" for check in refusing)
    together = "" if alone else " together"
    raise NoRowFitsError(
        f"every row that was tried for {table} is refused by its CHECK{together} ({what}): give rows of your own with "
        "--seed-sql FILE"
    )


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
