"""SQL text to parse trees, by PostgreSQL's own grammar. Besides `rewrite` and its parts nothing else knows the parser
library.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from remit.migrations.lint.errors import LintError
from remit.migrations.lint.model import Node

INSTALL = 'the linter needs two more packages: pip install "remit[migrations]"'

UNKNOWN = "unknown"
"""The kind of a part that is put together when it runs, and of which nothing can be told."""

SERIALS = {
    "serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8", "smallserial": "int2",
    "serial2": "int2",
}  # fmt: skip
"""The types that make a sequence, with what they are in the table."""

_CHANGES = ("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")


class SyntaxUnknownError(LintError):
    """The parser does not know this SQL."""


@dataclass(frozen=True)
class Parsed:
    """One statement: its text, the kind of its root and the root."""

    sql: str
    kind: str
    body: Node


@lru_cache(maxsize=4096)
def parse(sql: str) -> tuple[Parsed, ...]:
    """The statements of a text.

    Raises:
        SyntaxUnknownError: PostgreSQL's grammar does not have it.
        LintError: the parser is not installed.
    """
    try:
        import postgast
        from google.protobuf.json_format import MessageToDict
    except ImportError as error:
        raise LintError(INSTALL) from error
    try:
        tree = MessageToDict(postgast.parse(sql), preserving_proto_field_name=True)
    except postgast.PgQueryError as error:
        raise SyntaxUnknownError(str(error)) from error
    raw = sql.encode()  # positions are in bytes
    found = []
    for statement in tree.get("stmts", ()):
        start = statement.get("stmt_location", 0)
        length = statement.get("stmt_len", 0)
        text = raw[start : start + length if length else None].decode().strip().rstrip(";").strip()
        [(kind, body)] = statement["stmt"].items()
        found.append(Parsed(text, kind, body))
    return tuple(found)


def parse_block(sql: str) -> list[Parsed]:
    """The statements in the body of a DO block in PL/pgSQL. Text that is put together when it runs is read as far as it
    is written out, and is otherwise a part of the kind `UNKNOWN`, as is a block in another language.
    """
    import postgast

    try:
        tree = postgast.parse_plpgsql(sql) if _is_plpgsql(sql) else None
    except postgast.PgQueryError:
        tree = None
    if tree is None:
        return [Parsed("a block that is not in PL/pgSQL", UNKNOWN, {})]
    return _parse_queries(tree)


def parse_body(sql: str) -> list[Parsed]:
    """The statements in the body of a CREATE FUNCTION or CREATE PROCEDURE, as `parse_block` gives those of a block."""
    import postgast

    try:
        return _parse_queries(postgast.parse_plpgsql(sql))
    except postgast.PgQueryError:
        return [Parsed("a function that is not in SQL or PL/pgSQL", UNKNOWN, {})]


def _parse_queries(tree: Any) -> list[Parsed]:
    found: list[Parsed] = []
    for query, is_text in _find_queries(tree):
        text = read_text(query) if is_text else query
        try:
            found.extend(parse(text) if text is not None else [Parsed(f"EXECUTE {query}", UNKNOWN, {})])
        except SyntaxUnknownError:
            if is_text:
                found.append(Parsed(f"EXECUTE {query}", UNKNOWN, {}))
            # else an assignment or another form that is not a statement of its own
    return found


def find_changing_parts(parsed: Parsed) -> list[Parsed]:
    """The statements in WITH that change rows."""
    queries = [node.get("ctequery", {}) for kind, node in walk(dict(parsed.body)) if kind == "common_table_expr"]
    return [Parsed(parsed.sql, kind, body) for query in queries for kind, body in query.items() if kind in _CHANGES]


def _is_plpgsql(sql: str) -> bool:
    options = [item["def_elem"] for item in parse(sql)[0].body.get("args", ())]
    named = [option["arg"]["string"]["sval"] for option in options if option["defname"] == "language"]
    return named in ([], ["plpgsql"])


def _find_queries(value: Any) -> Iterator[tuple[str, bool]]:
    """The queries, each with whether it is an expression whose value is the text to run."""
    if isinstance(value, list):
        for item in value:
            yield from _find_queries(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "PLpgSQL_stmt_execsql":
                yield item["sqlstmt"]["PLpgSQL_expr"]["query"], False
            elif key in ("PLpgSQL_stmt_perform", "PLpgSQL_stmt_call"):
                yield item["expr"]["PLpgSQL_expr"]["query"], False
            elif key in ("PLpgSQL_stmt_fors", "PLpgSQL_stmt_dynfors", "PLpgSQL_stmt_dynexecute"):
                yield item["query"]["PLpgSQL_expr"]["query"], key != "PLpgSQL_stmt_fors"
                yield from _find_queries(item.get("body"))
            else:
                yield from _find_queries(item)


def read_text(expression: str) -> str | None:
    """The text that an expression is as far as it is written out; what is not becomes a name, `unknown_name`.

    Args:
        expression: of PL/pgSQL: a constant, parts joined by `||`, a call of `format`.

    Returns:
        None if no part is written out.
    """
    try:
        [select] = parse(f"SELECT {expression}")
        value = select.body["target_list"][0]["res_target"]["val"]
    except (SyntaxUnknownError, KeyError, ValueError):
        return None
    text, written = _join_text(value)
    return text if written else None


def _join_text(value: Node) -> tuple[str, bool]:
    """The text of a part, and whether any of it is written out."""
    constant = value.get("a_const", {}).get("sval", {}).get("sval")
    if constant is not None:
        return constant, True
    if "type_cast" in value:
        return _join_text(value["type_cast"]["arg"])
    call = value.get("func_call", {})
    name = join_names(call.get("funcname", ()))
    if name == "format" and call.get("args"):
        pattern, written = _join_text(call["args"][0])
        return _fill_format(pattern), written
    if name == "concat":
        parts = [_join_text(part) for part in call.get("args", ())]
        return "".join(text for text, _ in parts), any(written for _, written in parts)
    expression = value.get("a_expr", {})
    if expression.get("kind") == "AEXPR_OP" and join_names(expression["name"]) == "||":
        (left, first), (right, second) = _join_text(expression["lexpr"]), _join_text(expression["rexpr"])
        return left + right, first or second
    return ("'unknown'" if name == "quote_literal" else "unknown_name"), False


def _fill_format(pattern: str) -> str:
    """The pattern of `format` with something in its places: `%I`, `%s`, `%L`, `%1$I`, `%-10s`."""
    meant = {"%": "%", "L": "'unknown'"}
    return re.sub(r"%[0-9$*-]*(.?)", lambda found: meant.get(found[1], "unknown_name"), pattern, flags=re.DOTALL)


def walk(node: Any) -> Iterator[tuple[str, Node]]:
    """Every node below this one, with the name of its kind or of the field that holds it."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, dict):
                yield key, value
            yield from walk(value)
    elif isinstance(node, list):
        for item in node:
            yield from walk(item)


def find_constants(node: Any) -> Iterator[str]:
    """The string constants below a node."""
    for kind, value in walk(node):
        if kind == "a_const" and "sval" in value:
            yield value["sval"].get("sval", "")


def name_of(relation: Node) -> str:
    """A table's name as the linter compares it: with its schema unless that is `public`."""
    schema = relation.get("schemaname", "")
    return relation["relname"] if schema in ("", "public") else f"{schema}.{relation['relname']}"


def join_names(items: Any) -> str:
    """A qualified name from its list of strings."""
    parts = [item["string"]["sval"] for item in items]
    return ".".join(part for part in parts if part not in ("public", "pg_catalog"))


def deparse_type(node: Node) -> str:
    """A type as text, as `character varying(20)`."""
    mods = [str(mod.get("a_const", {}).get("ival", {}).get("ival", 0)) for mod in node.get("typmods", ())]
    name = join_names(node["names"]) + (f"({','.join(mods)})" if mods else "")
    return name + "[]" * len(node.get("array_bounds", ()))


def commands_of(body: Node) -> list[Node]:
    """The sub-commands of an ALTER TABLE."""
    return [item["alter_table_cmd"] for item in body.get("cmds", ())]


def subtype_of(command: Node) -> str:
    """The kind of a sub-command, as AT_AddColumn."""
    return str(command.get("subtype", "AT_AddColumn"))


def dropped_names(body: Node) -> list[str]:
    """The objects that a DROP names."""
    found = []
    for item in body.get("objects", ()):
        if "list" in item:
            found.append(join_names(item["list"]["items"]))
        elif "type_name" in item:
            found.append(join_names(item["type_name"]["names"]))
    return found
