"""The INSERT that makes a table's rows, all in one statement."""

import zlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from remit.migrations.rehearse.catalog import Check, Column, ForeignKey, Table
from remit.migrations.rehearse.conditions import Group, find_columns, group_columns, keep_usable, solve
from remit.migrations.rehearse.errors import NoRowFitsError
from remit.migrations.rehearse.proposals import propose
from remit.migrations.rehearse.server import Connection
from remit.migrations.rehearse.sizes import find_carrier, is_one_to_one
from remit.migrations.rehearse.statistics import ColumnStatistics, TableStatistics
from remit.migrations.rehearse.values import NULL, Value, make_values, pick, spread

_NULLS = 0.1


@dataclass
class Recipe:
    """How to make the rows of one table.

    Args:
        columns: an expression for each column that is given a value; the others have their defaults.
        before: statements that make the temporary tables of `joins`.
        later: foreign keys in a circle, whose columns can only be set once the other table has rows.
        joins: where the keys of other tables come from.
        notes: what a person should know.
    """

    table: Table
    columns: dict[str, str] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    later: list[ForeignKey] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def select(self, first: int, last: int) -> str:
        """The rows `first` to `last`."""
        picked = ", ".join(
            f"({text})::{self.table.columns[name].type} AS {quote(name)}" for name, text in self.columns.items()
        )
        return (
            f"SELECT {picked} FROM generate_series({first}::bigint, {last}::bigint) AS rows(g) {' '.join(self.joins)}"
        )

    @property
    def target(self) -> str:
        """The part of an INSERT before its rows."""
        names = f" ({', '.join(map(quote, self.columns))})" if self.columns else ""
        return f"INSERT INTO {self.table.sql}{names} OVERRIDING SYSTEM VALUE"

    def close_circles(self, names: Mapping[int, str]) -> list[str]:
        """The statements for `later`, with the names of all tables."""
        found = []
        for key in dict.fromkeys(self.later):
            pairs = list(zip(key.columns, key.target_columns, strict=True))
            set_ = ", ".join(f"{quote(own)} = other.{quote(target)}" for own, target in pairs)
            picked = ", ".join(quote(target) for target in key.target_columns)
            found.append(
                f"WITH own AS (SELECT ctid AS place, row_number() OVER () AS g FROM {self.table.sql}), "
                f"other AS (SELECT row_number() OVER () - 1 AS i, count(*) OVER () AS n, {picked} "
                f"FROM {names[key.target]}) UPDATE {self.table.sql} AS made SET {set_} FROM own, other "
                "WHERE made.ctid = own.place AND other.i = own.g % other.n"
            )
        return found


def quote(name: str) -> str:
    """A name in quotes."""
    return '"' + name.replace('"', '""') + '"'


def make_recipe(
    connection: Connection,
    table: Table,
    rows: int,
    counts: Mapping[int, int],
    names: Mapping[int, str],
    statistics: TableStatistics | None = None,
) -> Recipe:
    """Find an expression for each column.

    Args:
        connection: of the database to fill; it is only asked which values fit.
        table: the table.
        rows: how many it is to have.
        counts: how many rows the tables have that it may refer to.
        names: what those are called in statements.
        statistics: proportions to follow.

    Raises:
        NoRowFitsError: a condition refuses every value, or nothing is known about the type of a column.
    """
    return _Maker(connection, table, rows, counts, names, statistics).make()


class _Maker:
    def __init__(
        self,
        connection: Connection,
        table: Table,
        rows: int,
        counts: Mapping[int, int],
        names: Mapping[int, str],
        statistics: TableStatistics | None,
    ) -> None:
        self._connection = connection
        self._names = names
        self._table = table
        self._rows = rows
        self._counts = counts
        self._statistics = statistics
        self._recipe = Recipe(table)
        self._carriers = {find_carrier(table, unique) for unique in table.unique}
        self._keys: dict[str, Value] = {}

    def make(self) -> Recipe:
        # The widest first: the columns that it shares with others are then right for those too. Its own rows last.
        for key in sorted(self._table.foreign_keys, key=lambda key: (key.target == self._table.oid, -len(key.columns))):
            self._add_key(key)
        self._add_checked()
        for column in self._table.columns.values():
            if column.name not in self._recipe.columns and not column.generated:
                self._add_free(column)
        writable = [column for column in self._table.columns.values() if not column.generated]
        if not self._recipe.columns and writable:
            self._recipe.columns[writable[0].name] = self._choose_free(writable[0], distinct=True)
        return self._recipe

    def _seed(self, name: str) -> int:
        return zlib.crc32(f"{self._table.name}.{name}".encode())

    def _read(self, name: str) -> ColumnStatistics | None:
        return self._statistics.columns.get(name) if self._statistics else None

    def _add_key(self, key: ForeignKey) -> None:
        new = [name for name in key.columns if name not in self._keys]
        if not new:
            return
        count = self._counts.get(key.target, 0)
        if key.target == self._table.oid or not count:
            self._add_own_key(key, [name for name in new if not self._table.columns[name].not_null])
            return
        number = len(self._recipe.joins)
        name = f"pg_temp.key_{self._table.oid}_{number}"
        shared = [column for column in key.columns if column in self._keys]
        places = {column: f"c{place}" for place, column in enumerate(key.columns)}
        picked = ", ".join(
            f"{quote(other)} AS {places[own]}" for own, other in zip(key.columns, key.target_columns, strict=True)
        )
        window = ", ".join(quote(key.target_columns[key.columns.index(column)]) for column in shared)
        over = f"PARTITION BY {window}" if window else ""
        self._recipe.before.append(
            f"CREATE TEMP TABLE key_{self._table.oid}_{number} AS SELECT row_number() OVER ({over}) AS i, {picked} "
            f"FROM {self._names[key.target]}"
        )
        alias, step = f"k{number}", spread(self._seed(key.name))
        if shared:
            same = " AND ".join(f"{{}}.{places[column]} = {self._keys[column].sql}" for column in shared)
            grouped = ", ".join(places[column] for column in shared)
            self._recipe.joins.append(
                f"LEFT JOIN (SELECT {grouped}, count(*) AS n FROM {name} GROUP BY {grouped}) AS n{number} "
                f"ON {same.replace('{}', f'n{number}')} LEFT JOIN {name} AS {alias} "
                f"ON {same.replace('{}', alias)} AND {alias}.i = {step} % n{number}.n + 1"
            )
        elif is_one_to_one(self._table, key):
            self._recipe.joins.append(f"LEFT JOIN {name} AS {alias} ON {alias}.i = g % {count} + 1")
        else:
            statistics = self._read(key.columns[0])
            which = pick(self._seed(key.name), self._rows, statistics) if statistics else step
            self._recipe.joins.append(f"LEFT JOIN {name} AS {alias} ON {alias}.i = {which} % {count} + 1")
        for column in new:
            fits = self._make(self._table.columns[column], distinct=True) or [NULL]
            self._keys[column] = Value(f"{alias}.{places[column]}", True, fits[0].sql)

    def _add_own_key(self, key: ForeignKey, nullable: list[str]) -> None:
        """A row that refers to a row of its own table, or to one that cannot be filled before it."""
        self._keys |= dict.fromkeys(nullable, NULL)  # one NULL is enough for a key not to be looked up
        for column, other in zip(key.columns, key.target_columns, strict=True):
            if nullable or column in self._keys:
                continue
            if key.target != self._table.oid:
                self._keys[column] = self._make(self._table.columns[column], distinct=True)[0]
                self._recipe.later.append(key)
                continue
            if other not in self._keys:
                self._keys[other] = self._make(self._table.columns[other], distinct=True)[0]
            self._keys[column] = self._keys[other]

    def _add_checked(self) -> None:
        columns = {name: column for name, column in self._table.columns.items() if not column.generated}
        checks = [check for check in self._table.conditions if not self._names_generated(check)]
        groups = group_columns(checks, columns)
        grouped = {name for names, _ in groups for name in names}
        groups += [({name}, []) for name, column in columns.items() if column.domain_checks and name not in grouped]
        for names, own in groups:
            ordered = {name: column for name, column in columns.items() if name in names}
            group = self._solve(ordered, own)
            which = f"{spread(self._seed(' '.join(group.columns)))} % {len(group.combinations)}"
            for name in group.columns:
                texts = [combination[name].sql for combination in group.combinations]
                self._recipe.columns[name] = (
                    texts[0] if len(set(texts)) == 1 else _choose_case(which, texts, ordered[name])
                )

    def _solve(self, columns: Mapping[str, Column], checks: list[Check]) -> Group:
        carriers = {name for name in columns if name in self._carriers}
        for distinct in (True, False) if carriers else (False,):
            candidates = {
                name: self._propose(column, checks, distinct=distinct and name in carriers)
                for name, column in columns.items()
            }
            try:
                group = solve(self._connection, self._table.name, columns, checks, candidates)
            except NoRowFitsError:
                if not distinct:
                    raise
            else:
                return _keep_one(group, carriers) if distinct else group
        raise AssertionError  # the last attempt returns or raises

    def _names_generated(self, check: Check) -> bool:
        return any(self._table.columns[name].generated for name in find_columns(check, self._table.columns))

    def _propose(self, column: Column, checks: list[Check], *, distinct: bool) -> list[Value]:
        if column.name in self._keys:
            found = [self._keys[column.name]]
        else:
            found = [*self._make(column), *propose(column, [*checks, *column.domain_checks])]
            if column.labels:
                found = [Value(f"'{label.replace(chr(39), chr(39) * 2)}'::{column.type}") for label in column.labels]
        if distinct:
            return [value for value in found if value.distinct]
        return found if column.not_null else [*found, NULL]

    def _make(self, column: Column, *, distinct: bool = False) -> list[Value]:
        known = self._read(column.name)
        number = pick(self._seed(column.name), self._rows, known)
        values = make_values(column, self._seed(column.name), number, known.width if known else None)
        return [value for value in values if value.distinct] or values if distinct else values

    def _add_free(self, column: Column) -> None:
        carrier = column.name in self._carriers
        if column.name in self._keys:
            text = self._keys[column.name].sql
        elif column.numbers_itself or (column.default is not None and not carrier and self._statistics is None):
            return
        else:
            text = self._choose_free(column, distinct=carrier)
        known = self._read(column.name)
        share = known.null_fraction if known else _NULLS
        if not column.not_null and not carrier and text != "NULL" and share > 0:
            text = f"CASE WHEN {spread(self._seed(column.name) + 7)} % 10000 >= {int(share * 10000)} THEN {text} END"
        self._recipe.columns[column.name] = text

    def _choose_free(self, column: Column, *, distinct: bool) -> str:
        values = keep_usable(self._connection, column, self._make(column, distinct=distinct))
        if values:
            return values[0].sql
        if column.not_null and column.default is None:
            raise NoRowFitsError(
                f"{self._table.name}.{column.name} is NOT NULL and of type {column.type}, for which no values can be "
                "made: give rows of your own with --seed-sql FILE"
            )
        self._recipe.notes.append(f"{self._table.name}.{column.name} ({column.type}) is NULL in every row")
        return "NULL"


def _keep_one(group: Group, carriers: AbstractSet[str]) -> Group:
    """With one expression for each column that must differ from row to row: two of them could meet."""
    first = group.combinations[0]
    return Group(
        group.columns,
        tuple(item for item in group.combinations if all(item[name] == first[name] for name in carriers)),
    )


def _choose_case(which: str, texts: list[str], column: Column) -> str:
    cases = " ".join(f"WHEN {number} THEN ({text})::{column.type}" for number, text in enumerate(texts[:-1]))
    return f"CASE {which} {cases} ELSE ({texts[-1]})::{column.type} END"
