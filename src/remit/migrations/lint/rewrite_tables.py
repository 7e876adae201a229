"""The safe forms of statements about tables, their columns and their constraints."""

from collections.abc import Sequence
from typing import Any

from remit.migrations.lint.rewrite_parts import (
    BLOCK,
    NEXT,
    alter,
    compare_name,
    deparse,
    list_commands,
    load_messages,
    name_relation,
    quote_name,
    type_of,
    write_call,
    write_expression,
    write_type,
)
from remit.migrations.lint.schema import Schema
from remit.migrations.lint.schema_objects import default_name


def add_not_valid(body: Any, kind: str, _: Schema) -> str | None:
    """Each constraint of the statement without its check, and its validation later."""
    messages = load_messages()

    if kind != "alter_table_stmt":
        return None
    names = []
    for command in list(list_commands(body, "AT_AddColumn")):
        column = getattr(command, "def").column_def
        for place in reversed(range(len(column.constraints))):
            constraint = column.constraints[place].constraint
            if constraint.contype in (messages.CONSTR_FOREIGN, messages.CONSTR_CHECK):
                added = body.cmds.add().alter_table_cmd
                added.subtype = messages.AT_AddConstraint
                added.behavior = command.behavior
                getattr(added, "def").constraint.CopyFrom(constraint)
                if constraint.contype == messages.CONSTR_FOREIGN:
                    getattr(added, "def").constraint.fk_attrs.add().string.sval = column.colname
                else:
                    getattr(added, "def").constraint.conname = name_constraint(body, constraint, [column.colname])
                del column.constraints[place]
    for command in list_commands(body, "AT_AddConstraint"):
        constraint = getattr(command, "def").constraint
        if constraint.contype not in (messages.CONSTR_FOREIGN, messages.CONSTR_CHECK):
            return None
        constraint.conname = name_constraint(body, constraint, [key.string.sval for key in constraint.fk_attrs])
        constraint.skip_validation, constraint.initially_valid = True, False
        names.append(constraint.conname)
    if not names:
        return None
    table = name_relation(body.relation)
    later = "\n".join(alter(table, f"VALIDATE CONSTRAINT {quote_name(name)}") for name in names)
    return f"# this revision\n{write_call(deparse(kind, body))}\n{NEXT}{later}"


def name_constraint(body: Any, constraint: Any, columns: Sequence[str]) -> str:
    """The name of a constraint, or the one that PostgreSQL would give it."""
    kind = load_messages().ConstrType.Name(constraint.contype)
    return constraint.conname or default_name(body.relation.relname, kind, tuple(columns))


def add_column(body: Any, kind: str, _: Schema) -> str | None:
    """The column alone; its default afterwards, for new rows."""
    messages = load_messages()

    if kind != "alter_table_stmt":
        return None
    lines, table = [], name_relation(body.relation)
    for command in list(list_commands(body, "AT_AddColumn")):
        column = getattr(command, "def").column_def
        default = next(
            (item.constraint for item in column.constraints if item.constraint.contype == messages.CONSTR_DEFAULT),
            None,
        )
        lines.append(alter(table, f"ADD COLUMN {quote_name(column.colname)} {write_type(column.type_name)}"))
        if default is not None:
            value = write_expression(default.raw_expr)
            lines.append(alter(table, f"ALTER COLUMN {quote_name(column.colname)} SET DEFAULT {value}"))
    if not lines:
        return None
    later = "then: let the code write it, fill the old rows in batches; if it is required, prove it by a CHECK first"
    return "\n".join((*lines, f"# {later}"))


def change_type(body: Any, kind: str, _: Schema) -> str | None:
    """A column beside the old one."""
    if kind != "alter_table_stmt":
        return None
    table = name_relation(body.relation)
    lines = [
        alter(table, f"ADD COLUMN {quote_name(command.name + '_new')} {write_type(type_of(command))}")
        for command in list_commands(body, "AT_AlterColumnType")
    ]
    later = "# then: write both from the code, fill the old rows in batches, read the new one, drop the old one"
    return "\n".join((*lines, later)) if lines else None


def rename(body: Any, kind: str, before: Schema) -> str | None:
    """A new column, or the old name as a view that both kinds of code can read and write."""
    if kind == "alter_enum_stmt":
        type_name = quote_name(".".join(item.string.sval for item in body.type_name))
        value = body.new_val.replace("'", "''")
        add = write_call(f"ALTER TYPE {type_name} ADD VALUE IF NOT EXISTS '{value}'")
        return f"{BLOCK}    {add}\n# then: write the new value, change the old rows in batches"
    if kind == "alter_object_schema_stmt":
        old, new = name_relation(body.relation), f"{quote_name(body.newschema)}.{quote_name(body.relation.relname)}"
        return _leave_view(deparse(kind, body), old, new)
    if kind != "rename_stmt" or not body.relation.relname:
        return None
    if not body.subname:
        schema = f"{quote_name(body.relation.schemaname)}." if body.relation.schemaname else ""
        old, new = name_relation(body.relation), schema + quote_name(body.newname)
        if body.rename_type == load_messages().OBJECT_VIEW:
            return write_call(f"CREATE VIEW {new} AS SELECT * FROM {old}") + "\n# drop the old one in a later release"
        return _leave_view(deparse(kind, body), old, new)
    known = before.tables.get(compare_name(body.relation))
    column = known.columns.get(body.subname) if known is not None else None
    if column is None:
        return None
    return (
        alter(name_relation(body.relation), f"ADD COLUMN {quote_name(body.newname)} {column.type}")
        + "\n# then: write both, fill the old rows in batches, read the new one, drop the old one in a later release"
    )


def _leave_view(renaming: str, old: str, new: str) -> str:
    view = write_call(f"CREATE VIEW {old} AS SELECT * FROM {new}")
    return f"{write_call(renaming)}\n{view}  # in the same transaction; drop it in a later release"


def detach_concurrently(body: Any, kind: str, _: Schema) -> str | None:
    """The partition detached while others read."""
    for command in list_commands(body, "AT_DetachPartition") if kind == "alter_table_stmt" else ():
        getattr(command, "def").partition_cmd.concurrent = True
        return f"{BLOCK}    {write_call(deparse(kind, body))}"
    return None


def attach_checked(body: Any, kind: str, before: Schema) -> str | None:
    """A check that proves the bounds of a partition by range, validated before it is attached."""
    for command in list_commands(body, "AT_AttachPartition") if kind == "alter_table_stmt" else ():
        part, bound = getattr(command, "def").partition_cmd, getattr(command, "def").partition_cmd.bound
        known = before.tables.get(compare_name(body.relation))
        if bound.strategy != "r" or known is None or len(known.partition_keys) != 1 or not known.partition_keys[0]:
            return None
        key, table = quote_name(known.partition_keys[0]), name_relation(part.name)
        low, high = (write_expression(item[0]) for item in (bound.lowerdatums, bound.upperdatums))
        name = quote_name(f"ck_{part.name.relname}_{known.partition_keys[0]}")
        tests = [f"{key} >= {low}", f"{key} < {high}"]
        bounded = [test for test in tests if not test.endswith((" minvalue", " maxvalue"))]
        check = " AND ".join((f"{key} IS NOT NULL", *bounded))
        return (
            f"{alter(table, f'ADD CONSTRAINT {name} CHECK ({check}) NOT VALID')}\n{NEXT}"
            f"{alter(table, f'VALIDATE CONSTRAINT {name}')}\n{NEXT}{write_call(deparse(kind, body))}"
        )
    return None


def add_domain_not_valid(body: Any, kind: str, _: Schema) -> str | None:
    """The condition held against new rows only."""
    if kind != "alter_domain_stmt":
        return None
    getattr(body, "def").constraint.skip_validation = True
    getattr(body, "def").constraint.initially_valid = False
    sql = deparse(kind, body)
    return write_call(sql if "NOT VALID" in sql else f"{sql} NOT VALID")


def restrict(body: Any, kind: str, _: Schema) -> str | None:
    """The foreign key without its cascade."""
    if kind != "alter_table_stmt":
        return None
    for command in list_commands(body, "AT_AddConstraint"):
        getattr(command, "def").constraint.fk_del_action = "r"
    for command in list_commands(body, "AT_AddColumn"):
        for item in getattr(command, "def").column_def.constraints:
            item.constraint.fk_del_action = "r"
    return f"{write_call(deparse(kind, body))}\n# and delete the children in code that deregisters them"


def truncate_named(body: Any, kind: str, _: Schema) -> str | None:
    """Only the tables that are named."""
    if kind != "truncate_stmt":
        return None
    body.behavior = load_messages().DROP_RESTRICT
    return f"{write_call(deparse(kind, body))}  # with each table named that is meant"
