"""The safe forms of statements that add unique constraints and primary keys."""

from collections.abc import Sequence
from typing import Any

from remit.migrations.lint.parse import SERIALS
from remit.migrations.lint.rewrite_parts import (
    BLOCK,
    NEXT,
    alter,
    compare_name,
    deparse,
    is_partitioned,
    list_commands,
    load_messages,
    name_relation,
    quote_name,
    write_call,
    write_expression,
    write_type,
)
from remit.migrations.lint.rewrite_tables import name_constraint
from remit.migrations.lint.schema import Schema
from remit.migrations.lint.work import is_known_not_null

_ON_PARTITIONS = (
    "pass  # for each partition: its unique index concurrently, then its constraint over it; then the constraint of\n"
    "# the parent by ALTER TABLE ONLY, and ALTER INDEX THE_NAME ATTACH PARTITION for each, in a revision of their own"
)

_KEYS = ("CONSTR_UNIQUE", "CONSTR_PRIMARY")


def take_over_index(body: Any, kind: str, before: Schema) -> str | None:
    """A unique constraint or primary key over an index that is built beforehand."""
    if kind != "alter_table_stmt":
        return None
    if is_partitioned(body.relation, before):
        return _ON_PARTITIONS
    for place, item in enumerate(body.cmds):
        command = item.alter_table_cmd
        definition = getattr(command, "def")
        if command in list_commands(body, "AT_AddConstraint") and _kind(definition.constraint) in _KEYS:
            steps = _take_over(
                body, definition.constraint, [key.string.sval for key in definition.constraint.keys], before
            )
            del body.cmds[place]
            return "\n".join(([f"{write_call(deparse(kind, body))}\n{NEXT}".rstrip()] if body.cmds else []) + [steps])
        if command in list_commands(body, "AT_AddColumn"):
            column = definition.column_def
            key = next((entry.constraint for entry in column.constraints if _kind(entry.constraint) in _KEYS), None)
            if key is not None:
                return _add_key_column(body, kind, column, key, before)
    return None


def _kind(constraint: Any) -> str:
    return str(load_messages().ConstrType.Name(constraint.contype))


def _add_key_column(body: Any, kind: str, column: Any, key: Any, before: Schema) -> str:
    """The column alone, its values for new rows and then for old ones, and only then its key."""
    table, name = name_relation(body.relation), quote_name(column.colname)
    later = _take_over(body, key, [column.colname], before)
    default = next(
        (item.constraint.raw_expr for item in column.constraints if _kind(item.constraint) == "CONSTR_DEFAULT"), None
    )
    counted = _is_serial(column) or any(_kind(item.constraint) == "CONSTR_IDENTITY" for item in column.constraints)
    sequence = ""
    if counted:
        schema = f"{body.relation.schemaname}." if body.relation.schemaname else ""
        sequence = quote_name(f"{schema}{body.relation.relname}_{column.colname}_seq")
    for place in reversed(range(len(column.constraints))):
        if _kind(column.constraints[place].constraint) in (
            *_KEYS,
            "CONSTR_DEFAULT",
            "CONSTR_IDENTITY",
            "CONSTR_NOTNULL",
        ):
            del column.constraints[place]
    stored = write_type(column.type_name)
    if _is_serial(column):
        column.type_name.names[-1].string.sval = stored
    lines = [write_call(deparse(kind, body))]
    value = f"nextval('{sequence}')" if counted else (write_expression(default) if default is not None else "")
    if counted:
        lines = [write_call(f"CREATE SEQUENCE {sequence} AS {stored}"), *lines]
        lines.append(write_call(f"ALTER SEQUENCE {sequence} OWNED BY {table}.{name}"))
    if value:
        lines.append(alter(table, f"ALTER COLUMN {name} SET DEFAULT {value}"))
        batch = f"SELECT ctid FROM {table} WHERE {name} IS NULL LIMIT 1000"
        fill = write_call(f"UPDATE {table} SET {name} = DEFAULT WHERE ctid = ANY(ARRAY({batch}))")
        call = fill.replace("op.execute(", "op.get_bind().execute(sa.text(", 1)
        lines.append(f"{NEXT}{BLOCK}    while {call}).rowcount:\n        pass  # each batch commits")
    elif _kind(key) == "CONSTR_PRIMARY":
        lines.append("# then: let the code write it, and fill the old rows in batches")
    return "\n".join((*lines, NEXT + later))


def _is_serial(column: Any) -> bool:
    return bool(column.type_name.names) and column.type_name.names[-1].string.sval in SERIALS


def _take_over(body: Any, constraint: Any, columns: Sequence[str], before: Schema) -> str:
    """The steps from columns that are there to a key of them; those of a primary key are proven to hold no NULL."""
    bare = name_constraint(body, constraint, columns)
    schema = f"{body.relation.schemaname}." if body.relation.schemaname else ""
    table, name = name_relation(body.relation), quote_name(bare)
    keys = ", ".join(quote_name(column) for column in columns)
    including = ", ".join(quote_name(item.string.sval) for item in constraint.including)
    rest = (f" INCLUDE ({including})" if including else "") + (
        " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    )
    build = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({keys}){rest}"
    primary = _kind(constraint) == "CONSTR_PRIMARY"
    unproven = [
        column for column in columns if primary and not is_known_not_null(before, compare_name(body.relation), column)
    ]
    checks = {column: quote_name(f"ck_{body.relation.relname}_{column}") for column in unproven}
    deferred = (
        " DEFERRABLE INITIALLY DEFERRED" if constraint.initdeferred else " DEFERRABLE" if constraint.deferrable else ""
    )
    steps = []
    if unproven:
        steps.append(
            [
                alter(table, f"ADD CONSTRAINT {check} CHECK ({quote_name(column)} IS NOT NULL) NOT VALID")
                for column, check in checks.items()
            ]
        )
        steps.append([alter(table, f"VALIDATE CONSTRAINT {check}") for check in checks.values()])
    steps.append(
        [
            f"{BLOCK}    {write_call(f'DROP INDEX CONCURRENTLY IF EXISTS {quote_name(schema + bare)}')}",
            f"    {write_call(build)}",
        ]
    )
    steps.append(
        [
            *(alter(table, f"ALTER COLUMN {quote_name(column)} SET NOT NULL") for column in unproven),
            alter(
                table, f"ADD CONSTRAINT {name} {'PRIMARY KEY' if primary else 'UNIQUE'} USING INDEX {name}{deferred}"
            ),
            *(alter(table, f"DROP CONSTRAINT {check}") for check in checks.values()),
        ]
    )
    return f"\n{NEXT}".join("\n".join(step) for step in steps)
