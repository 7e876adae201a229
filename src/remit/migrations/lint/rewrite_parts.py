"""From parts of a parse tree back to SQL, and from SQL to the calls of a revision."""

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

from remit.migrations.lint.parse import SERIALS, SyntaxUnknownError, name_of, parse
from remit.migrations.lint.schema import Schema

NEXT = "# the next revision, in a transaction of its own\n"
BLOCK = "with op.get_context().autocommit_block():\n"


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


def load_messages() -> Any:
    """The classes of the parse tree. Imported by name: their type stubs are not valid for mypy."""
    return import_module("postgast.pg_query_pb2")


def deparse(kind: str, body: Any) -> str:
    """A statement as SQL."""
    import postgast

    messages = load_messages()

    tree = messages.ParseResult()
    getattr(tree.stmts.add().stmt, kind).CopyFrom(body)
    return str(postgast.deparse(tree))


def name_relation(relation: Any) -> str:
    """The name of a table or index as SQL has it."""
    return quote_name(f"{relation.schemaname}.{relation.relname}" if relation.schemaname else relation.relname)


def compare_name(relation: Any) -> str:
    """The name of a table as a `Schema` has it, which `parse.name_of` makes of the other form of the tree."""
    return name_of({"schemaname": relation.schemaname, "relname": relation.relname})


def is_partitioned(relation: Any, before: Schema) -> bool:
    """Whether a table is known to be partitioned: nothing of it can be built concurrently."""
    known = before.tables.get(compare_name(relation))
    return known is not None and known.partitioned


def alter(table: str, command: str) -> str:
    """A call with an ALTER TABLE."""
    return write_call(f"ALTER TABLE {table} {command}")


def list_commands(body: Any, *subtypes: str) -> Iterator[Any]:
    """The sub-commands of an ALTER TABLE that are of one of these kinds."""
    messages = load_messages()

    for item in body.cmds:
        command = item.alter_table_cmd
        if messages.AlterTableType.Name(command.subtype) in subtypes:
            yield command


def type_of(command: Any) -> Any:
    """The type that a column is changed to."""
    return getattr(command, "def").column_def.type_name


def write_type(type_name: Any) -> str:
    """A type as SQL; that of a serial is the one it stores."""
    messages = load_messages()

    select = messages.SelectStmt()
    cast = select.target_list.add().res_target.val.type_cast
    cast.arg.a_const.isnull = True
    cast.type_name.CopyFrom(type_name)
    text = deparse("select_stmt", select).removeprefix("SELECT ")
    text = text.removeprefix("NULL::").removeprefix("CAST(NULL AS ")
    return SERIALS.get(text, text)


def write_expression(node: Any) -> str:
    """An expression as SQL."""
    messages = load_messages()

    select = messages.SelectStmt()
    select.target_list.add().res_target.val.CopyFrom(node)
    return deparse("select_stmt", select).removeprefix("SELECT ")
