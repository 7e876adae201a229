"""The safe form of a statement as code to paste, made from the statement itself.

Where a rule has no entry here, or the statement is of another kind (in a DO block, say), the catalog's text is used.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

from remit.migrations.lint.parse import SyntaxUnknownError, parse
from remit.migrations.lint.schema import Schema

_NEXT = "# the next revision, in a transaction of its own\n"
_BLOCK = "with op.get_context().autocommit_block():\n"
_SERIALS = {"serial": "integer", "bigserial": "bigint", "smallserial": "smallint"}


def rewrite(rule: str, sql: str, before: Schema | None = None) -> str | None:
    """The safe form of a statement.

    Args:
        rule: what is wrong with it.
        sql: the statement.
        before: the tables as they are when it runs.

    Returns:
        Python code for a revision, or None if nothing more exact is known than the catalog's text.
    """
    make = _MAKERS.get(rule)
    if make is None:
        return None
    import postgast

    tree = postgast.parse(sql)
    node = tree.stmts[0].stmt
    kind = node.WhichOneof("node")
    return make(getattr(node, kind), kind, before or Schema())


def write_call(sql: str) -> str:
    """`op.execute` of one statement; a colon that SQLAlchemy would take for a parameter is kept."""
    text = re.sub(r"(?<![:\w]):(?=\w)", r"\\:", sql)
    return 'op.execute("' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '")'


@lru_cache(maxsize=4096)
def quote_name(name: str) -> str:
    """A name of one or more parts as SQL has it: in quotes where it needs them."""
    return ".".join(part if _is_plain(part) else '"' + part.replace('"', '""') + '"' for part in name.split("."))


def _is_plain(part: str) -> bool:
    if not re.fullmatch(r"[a-z_][a-z0-9_$]*", part):
        return False
    try:
        parse(f"ALTER TABLE {part} ADD COLUMN {part} integer")
    except SyntaxUnknownError:
        return False
    return True


def _load_messages() -> Any:
    """The classes of the parse tree. Imported by name: their type stubs are not valid for mypy."""
    return import_module("postgast.pg_query_pb2")


def _deparse(kind: str, body: Any) -> str:
    import postgast

    messages = _load_messages()

    tree = messages.ParseResult()
    getattr(tree.stmts.add().stmt, kind).CopyFrom(body)
    return str(postgast.deparse(tree))


def _name(relation: Any) -> str:
    return quote_name(f"{relation.schemaname}.{relation.relname}" if relation.schemaname else relation.relname)


def _alter(table: str, command: str) -> str:
    return write_call(f"ALTER TABLE {table} {command}")


def _commands(body: Any, *subtypes: str) -> Iterator[Any]:
    messages = _load_messages()

    for item in body.cmds:
        command = item.alter_table_cmd
        if messages.AlterTableType.Name(command.subtype) in subtypes:
            yield command


def _build_index(body: Any, kind: str, _: Schema) -> str | None:
    if kind != "index_stmt" or not body.idxname:
        return None
    body.concurrent, body.if_not_exists = True, False
    body.access_method = "" if body.access_method == "btree" else body.access_method  # as people write it
    name = f"{body.relation.schemaname}.{body.idxname}" if body.relation.schemaname else body.idxname
    drop = write_call(f"DROP INDEX CONCURRENTLY IF EXISTS {quote_name(name)}")
    return f"{_BLOCK}    {drop}  # what a failed build left\n    {write_call(_deparse(kind, body))}"


def _run_alone(body: Any, kind: str, _: Schema) -> str:
    return f"# in a revision of its own\n{_BLOCK}    {write_call(_deparse(kind, body))}"


def _add_not_valid(body: Any, kind: str, _: Schema) -> str | None:
    """Each constraint of the statement without its check, and its validation later."""
    messages = _load_messages()

    if kind != "alter_table_stmt":
        return None
    names = []
    for command in list(_commands(body, "AT_AddColumn")):
        column = getattr(command, "def").column_def
        for place in reversed(range(len(column.constraints))):
            constraint = column.constraints[place].constraint
            if constraint.contype == messages.CONSTR_FOREIGN:
                added = body.cmds.add().alter_table_cmd
                added.subtype = messages.AT_AddConstraint
                added.behavior = command.behavior
                getattr(added, "def").constraint.CopyFrom(constraint)
                getattr(added, "def").constraint.fk_attrs.add().string.sval = column.colname
                del column.constraints[place]
    for command in _commands(body, "AT_AddConstraint"):
        constraint = getattr(command, "def").constraint
        if constraint.contype not in (messages.CONSTR_FOREIGN, messages.CONSTR_CHECK):
            return None
        keys = [key.string.sval for key in constraint.fk_attrs]
        constraint.conname = constraint.conname or "_".join(
            (body.relation.relname, *keys, "fkey" if constraint.contype == messages.CONSTR_FOREIGN else "check")
        )
        constraint.skip_validation, constraint.initially_valid = True, False
        names.append(constraint.conname)
    if not names:
        return None
    table = _name(body.relation)
    later = "\n".join(_alter(table, f"VALIDATE CONSTRAINT {quote_name(name)}") for name in names)
    return f"# this revision\n{write_call(_deparse(kind, body))}\n{_NEXT}{later}"


def _add_column(body: Any, kind: str, _: Schema) -> str | None:
    """The column alone; its default afterwards, for new rows."""
    messages = _load_messages()

    if kind != "alter_table_stmt":
        return None
    lines, table = [], _name(body.relation)
    for command in list(_commands(body, "AT_AddColumn")):
        column = getattr(command, "def").column_def
        default = next(
            (item.constraint for item in column.constraints if item.constraint.contype == messages.CONSTR_DEFAULT),
            None,
        )
        lines.append(_alter(table, f"ADD COLUMN {quote_name(column.colname)} {_write_type(column.type_name)}"))
        if default is not None:
            value = _write_expression(default.raw_expr)
            lines.append(_alter(table, f"ALTER COLUMN {quote_name(column.colname)} SET DEFAULT {value}"))
    if not lines:
        return None
    later = "then: let the code write it, fill the old rows in batches; if it is required, prove it by a CHECK first"
    return "\n".join((*lines, f"# {later}"))


def _change_type(body: Any, kind: str, _: Schema) -> str | None:
    if kind != "alter_table_stmt":
        return None
    table = _name(body.relation)
    lines = [
        _alter(table, f"ADD COLUMN {quote_name(command.name + '_new')} {_write_type(_type_of(command))}")
        for command in _commands(body, "AT_AlterColumnType")
    ]
    later = "# then: write both from the code, fill the old rows in batches, read the new one, drop the old one"
    return "\n".join((*lines, later)) if lines else None


def _rename(body: Any, kind: str, before: Schema) -> str | None:
    if kind != "rename_stmt" or not body.subname:
        return None
    schema = body.relation.schemaname
    known = before.tables.get(
        body.relation.relname if schema in ("", "public") else f"{schema}.{body.relation.relname}"
    )
    column = known.columns.get(body.subname) if known is not None else None
    if column is None:
        return None
    return (
        _alter(_name(body.relation), f"ADD COLUMN {quote_name(body.newname)} {column.type}")
        + "\n# then: write both, fill the old rows in batches, read the new one, drop the old one in a later release"
    )


def _in_batches(body: Any, kind: str, _: Schema) -> str | None:
    """An UPDATE of one column with a plain value, a thousand rows at a time."""
    if kind != "update_stmt" or len(body.target_list) != 1 or body.from_clause or body.with_clause.ctes:
        return None
    table, target = _name(body.relation), body.target_list[0].res_target
    if not target.val.WhichOneof("node"):
        return None
    alias = f" {quote_name(body.relation.alias.aliasname)}" if body.relation.alias.aliasname else ""
    column, value = quote_name(target.name), _write_expression(target.val)
    condition = f"{column} IS DISTINCT FROM {value}"
    if body.where_clause.WhichOneof("node"):
        condition = f"({_write_expression(body.where_clause)}) AND {condition}"
    chosen = f"SELECT ctid FROM {table}{alias} WHERE {condition} LIMIT 1000"
    update = write_call(f"UPDATE {table}{alias} SET {column} = {value} WHERE ctid = ANY(ARRAY({chosen}))")
    return (
        "# outside of the migration, or in an autocommit block: each batch commits\n"
        f"{_BLOCK}    while {update.replace('op.execute(', 'op.get_bind().execute(sa.text(', 1)}).rowcount:\n"
        "        pass"
    )


def _type_of(command: Any) -> Any:
    return getattr(command, "def").column_def.type_name


def _write_type(type_name: Any) -> str:
    """A type as SQL; that of a serial is the one it stores."""
    messages = _load_messages()

    select = messages.SelectStmt()
    cast = select.target_list.add().res_target.val.type_cast
    cast.arg.a_const.isnull = True
    cast.type_name.CopyFrom(type_name)
    text = _deparse("select_stmt", select).removeprefix("SELECT ")
    text = text.removeprefix("NULL::").removeprefix("CAST(NULL AS ")
    return _SERIALS.get(text, text)


def _write_expression(node: Any) -> str:
    messages = _load_messages()

    select = messages.SelectStmt()
    select.target_list.add().res_target.val.CopyFrom(node)
    return _deparse("select_stmt", select).removeprefix("SELECT ")


_MAKERS: dict[str, Callable[[Any, str, Schema], str | None]] = {
    "adding-field-with-default": _add_column,
    "adding-foreign-key-constraint": _add_not_valid,
    "adding-required-field": _add_column,
    "backfill-in-migration": _in_batches,
    "column-type-rewrites-table": _change_type,
    "concurrently-in-transaction": _run_alone,
    "constraint-missing-not-valid": _add_not_valid,
    "invalid-index-passes": _build_index,
    "rename-breaks-running-code": _rename,
    "require-concurrent-index-creation": _build_index,
}
