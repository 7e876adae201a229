"""Fills a scratch database with rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg

from remit.migrations.rehearse.catalog import Table
from remit.migrations.rehearse.errors import NoRowFitsError, RehearseError
from remit.migrations.rehearse.recipe import Recipe, make_recipe, quote
from remit.migrations.rehearse.server import Connection, fetch_value
from remit.migrations.rehearse.sizes import Plan

_HINT = "give rows of your own with --seed-sql FILE"
_TRIED_ALONE = 200


@dataclass
class Filled:
    """The rows that there are now, by the table's name, and what a person should know of them."""

    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def fill(connection: Connection, plan: Plan, rows: int, seed_sql: str | None = None) -> Filled:
    """Give every table of a plan its rows.

    Args:
        connection: of the database, in autocommit.
        plan: the tables.
        rows: of the largest touched table.
        seed_sql: statements to run first; tables that have rows because of them are left as they are. They find
            `rows` in `current_setting('rehearse.rows')`.

    Raises:
        NoRowFitsError: a constraint or a trigger refuses every row.
        RehearseError: the statements of `seed_sql` failed.
    """
    filled = Filled()
    connection.execute(f"SET rehearse.rows = '{rows}'".encode())
    before = {oid: _count(connection, plan.tables[oid]) for oid in plan.order}
    if seed_sql:
        _seed(connection, seed_sql)
    counts = {oid: _count(connection, plan.tables[oid]) for oid in plan.order}
    seeded = {oid for oid in plan.order if counts[oid] > before[oid]}
    wanted = plan.count_rows(rows)
    names = {oid: table.sql for oid, table in plan.tables.items()}
    recipes = []
    with _Keys(connection, plan):
        for oid in plan.order:
            table = plan.tables[oid]
            if oid not in seeded:
                known = plan.statistics.get(table.name)
                recipe = make_recipe(connection, table, wanted[oid], counts, names, known)
                counts[oid] += _insert(connection, recipe, counts[oid], wanted[oid], filled)
                filled.notes += recipe.notes
                recipes.append(recipe)
            filled.rows[table.name] = counts[oid]
        connection.execute("SET session_replication_role = replica")  # no trigger has a say in it
        for recipe in recipes:
            for statement in recipe.close_circles(names):
                connection.execute(statement.encode())
        connection.execute("RESET session_replication_role")
    for oid in plan.order:
        connection.execute(f"VACUUM (ANALYZE) {plan.tables[oid].sql}".encode())
    return filled


def _seed(connection: Connection, seed_sql: str) -> None:
    try:
        connection.execute(seed_sql.encode())
    except psycopg.Error as error:
        raise RehearseError(f"--seed-sql: {' '.join(str(error).split())}") from error


def _count(connection: Connection, table: Table) -> int:
    return int(fetch_value(connection, f"SELECT count(*) FROM {table.sql}"))


class _Keys:
    """Takes foreign keys and plain indexes away while rows are made, and puts them back, which checks all at once."""

    def __init__(self, connection: Connection, plan: Plan) -> None:
        self._connection = connection
        self._keys = [
            (plan.tables[oid], key) for oid in plan.order for key in plan.tables[oid].foreign_keys if key.is_there
        ]
        self._indexes = connection.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = ANY(%s) "
            "AND NOT indisunique AND NOT indisexclusion AND indisvalid",
            [[oid for oid in plan.order if not plan.tables[oid].partitioned]],
        ).fetchall()

    def __enter__(self) -> None:
        self._connection.execute("SET maintenance_work_mem = '512MB'")
        for table, key in self._keys:
            self._connection.execute(f"ALTER TABLE {table.sql} DROP CONSTRAINT {quote(key.name)}".encode())
        for name, _ in self._indexes:
            self._connection.execute(f"DROP INDEX {name}".encode())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return  # the database is given up
        for _, definition in self._indexes:
            self._connection.execute(definition.encode())
        for table, key in self._keys:
            try:
                self._connection.execute(
                    f"ALTER TABLE {table.sql} ADD CONSTRAINT {quote(key.name)} {key.definition}".encode()
                )
            except psycopg.Error as error:
                raise NoRowFitsError(f"{_describe(table, error)}; {_HINT}") from error


def _insert(connection: Connection, recipe: Recipe, there: int, wanted: int, filled: Filled) -> int:
    """Make the rows that are missing; how many were made."""
    table = recipe.table
    first = _find_first(connection, table, there)
    for statement in recipe.before:
        connection.execute(statement.encode())
        connection.execute(f"ANALYZE {statement.split()[3]}".encode())
    connection.execute("SET enable_nestloop = off")
    select = recipe.select(first, first + wanted - 1)
    try:
        made = connection.execute(f"{recipe.target} {select}".encode()).rowcount
    except psycopg.errors.CheckViolation:
        conditions = " AND ".join(f"(({check.expression}) IS NOT FALSE)" for check in table.conditions) or "true"
        fitting = f"SELECT * FROM ({select}) AS made WHERE {conditions}"
        made = connection.execute(f"{recipe.target} {fitting} ON CONFLICT DO NOTHING".encode()).rowcount
    except psycopg.errors.UniqueViolation:
        made = connection.execute(f"{recipe.target} {select} ON CONFLICT DO NOTHING".encode()).rowcount
    except psycopg.Error as error:
        made = _insert_one_by_one(connection, recipe, first, wanted, error)
    finally:
        connection.execute("RESET enable_nestloop")
    made = max(made, 0)
    if made < wanted:
        filled.notes.append(
            f"{table.name} has {made:,} rows of the {wanted:,} that were asked for: the rest were refused"
        )
    if not made + there:
        by = f": its trigger {', '.join(table.triggers)} keeps them out" if table.triggers else ""
        raise NoRowFitsError(f"not one row got into {table.name}{by}; {_HINT}")
    return made


def _find_first(connection: Connection, table: Table, there: int) -> int:
    """The first number that no row of the table can have yet."""
    if not there:
        return 1
    integers = [name for name, column in table.columns.items() if column.base in ("int2", "int4", "int8")]
    keys = [name for name in integers if any(name in unique for unique in table.unique)]
    numbers = [fetch_value(connection, f"SELECT max({quote(name)})::bigint FROM {table.sql}") or 0 for name in keys]
    return 1 + max(there, *numbers) if numbers else 1 + there


def _insert_one_by_one(connection: Connection, recipe: Recipe, first: int, wanted: int, cause: psycopg.Error) -> int:
    """For a table whose triggers refuse some rows: keep those that they let pass."""
    table = recipe.table
    if not table.triggers:
        raise NoRowFitsError(f"{_describe(table, cause)}; {_HINT}") from cause
    before = _count(connection, table)
    for last in (min(first + _TRIED_ALONE, first + wanted) - 1, first + wanted - 1):
        values = ", ".join(f"r.{quote(name)}" for name in recipe.columns)
        connection.execute(
            f"DO $fill$ DECLARE r record; BEGIN FOR r IN {recipe.select(first, last)} LOOP BEGIN {recipe.target} "
            f"VALUES ({values}); EXCEPTION WHEN others THEN NULL; END; END LOOP; END $fill$".encode()
        )
        made = _count(connection, table) - before
        if not made:
            raise NoRowFitsError(f"{_describe(table, cause)}; {_HINT}") from cause
        first = last + 1
    return made


def _describe(table: Table, error: psycopg.Error) -> str:
    """Who refuses, by name."""
    reason = error.diag.message_primary or " ".join(str(error).split())
    context = error.diag.context or ""
    if error.diag.constraint_name:
        return (
            f"the constraint {error.diag.constraint_name} of {table.name} refuses every row that was tried ({reason})"
        )
    if "function" in context and table.triggers:
        return f"the trigger {', '.join(table.triggers)} of {table.name} refuses every row that was tried ({reason})"
    return f"{table.name} cannot be filled ({reason})"


def count_all(connection: Connection, plan: Plan) -> Mapping[str, int]:
    """The rows of each table."""
    return {table.name: _count(connection, table) for table in plan.tables.values()}
