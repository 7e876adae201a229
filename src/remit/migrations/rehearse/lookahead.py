"""Rows that obey what a revision is about to demand: a revision meets data that it does not refuse."""

from collections.abc import Mapping
from dataclasses import replace

from remit.migrations.rehearse.catalog import Check, Table
from remit.migrations.rehearse.conditions import find_columns


def look_ahead(before: Mapping[int, Table], after: Mapping[int, Table]) -> dict[int, Table]:
    """The tables as they are, with the constraints that they will have on the columns that are there already.

    Args:
        before: as the revision finds them.
        after: as it leaves them on an empty database.
    """
    return {oid: _merge(table, after[oid], before) if oid in after else table for oid, table in before.items()}


def _merge(table: Table, after: Table, known: Mapping[int, Table]) -> Table:
    names = table.columns.keys()
    columns = {
        name: replace(column, not_null=column.not_null or (name in after.columns and after.columns[name].not_null))
        for name, column in table.columns.items()
    }
    keys = {key.name for key in table.foreign_keys}
    return replace(
        table,
        columns=columns,
        unique=(*table.unique, *(item for item in after.unique if item not in table.unique and set(item) <= names)),
        checks=(*table.checks, *(check for check in after.checks if _is_new(check, table, after))),
        foreign_keys=(
            *table.foreign_keys,
            *(
                replace(key, is_there=False)
                for key in after.foreign_keys
                if key.name not in keys
                and set(key.columns) <= names
                and key.target in known
                and set(key.target_columns) <= known[key.target].columns.keys()
            ),
        ),
    )


def _is_new(check: Check, table: Table, after: Table) -> bool:
    return check not in table.checks and find_columns(check, after.columns) <= table.columns.keys()
