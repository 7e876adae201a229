"""How many rows each table gets."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from remit.migrations.rehearse.catalog import ForeignKey, Table
from remit.migrations.rehearse.conditions import find_columns
from remit.migrations.rehearse.statistics import TableStatistics

_SHARE_OF_REFERENCED = 100
_LEAST_REFERENCED = 50


@dataclass(frozen=True)
class Plan:
    """What is to be filled.

    Args:
        order: the tables, those that others refer to first.
        touched: those that the revision works on.
        statistics: of a real server, by name.
    """

    tables: Mapping[int, Table]
    order: tuple[int, ...]
    touched: AbstractSet[int]
    statistics: Mapping[str, TableStatistics]

    def count_rows(self, rows: int) -> dict[int, int]:
        """The rows of each table when the largest of the touched ones has so many."""
        counts = {oid: self._count(oid, rows) for oid in self.order}
        for oid in reversed(self.order):
            table = self.tables[oid]
            for key in table.foreign_keys:
                if is_one_to_one(table, key) and key.target in counts:
                    counts[key.target] = max(counts[key.target], counts[oid])
        return counts

    def _count(self, oid: int, rows: int) -> int:
        known = self.statistics.get(self.tables[oid].name)
        if known is not None:
            largest = max((self.statistics[self.tables[item].name].rows for item in self.touched), default=1)
            return max(1, known.rows * rows // max(largest, 1))
        if oid in self.touched:
            return rows
        return min(rows, max(_LEAST_REFERENCED, rows // _SHARE_OF_REFERENCED))


def is_one_to_one(table: Table, key: ForeignKey) -> bool:
    """Whether each row needs another target: its uniqueness has nothing but foreign keys to come from."""
    return any(
        set(key.columns) & set(unique) and find_carrier(table, unique) is None and key == _first_key(table, unique)
        for unique in table.unique
    )


def _first_key(table: Table, unique: tuple[str, ...]) -> ForeignKey | None:
    return next((key for key in table.foreign_keys if set(key.columns) & set(unique) and key.target != table.oid), None)


def find_carrier(table: Table, unique: tuple[str, ...]) -> str | None:
    """The column of a unique constraint that makes its rows differ; None where only foreign keys can."""
    keyed = {name for key in table.foreign_keys for name in key.columns}
    free = [table.columns[name] for name in unique if name in table.columns and name not in keyed]
    wide = [column for column in free if not column.labels and column.base != "bool"]
    alone = {other[0] for other in table.unique if len(other) == 1}
    checked = {name for check in table.conditions for name in find_columns(check, table.columns)}
    wide.sort(
        key=lambda column: (
            column.name not in alone,  # it has to differ from row to row in any case
            not column.numbers_itself,
            column.name in checked,
            column.base == "int2",
            unique.index(column.name),
        )
    )
    return wide[0].name if wide else None


def sort_tables(tables: Mapping[int, Table]) -> tuple[int, ...]:
    """Those that others refer to first; in a circle, wherever a foreign key may stay empty."""
    order: list[int] = []
    left = dict(tables)
    while left:
        ready = [oid for oid, table in left.items() if not _needs(table, left, strict=True)]
        ready = ready or [oid for oid, table in left.items() if not _needs(table, left, strict=False)]
        ready = ready or [next(iter(left))]
        for oid in ready:
            order.append(oid)
            del left[oid]
    return tuple(order)


def _needs(table: Table, left: Mapping[int, Table], *, strict: bool) -> bool:
    return any(
        key.target in left
        and key.target != table.oid
        and (strict or all(table.columns[name].not_null for name in key.columns))
        for key in table.foreign_keys
    )
