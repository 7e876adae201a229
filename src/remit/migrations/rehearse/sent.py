"""What can be said of a text that is sent to the database."""

from typing import Any

from remit.migrations.lint.bind import render_sql
from remit.migrations.lint.parse import SyntaxUnknownError, parse, walk

_HARMLESS = ("to_regclass", "to_regtype", "current_setting", "current_schema", "version", "pg_backend_pid")
_ALONE = ("vacuum_stmt", "createdb_stmt", "dropdb_stmt", "alter_system_stmt", "transaction_stmt")


def is_catalog_query(sql: str) -> bool:
    """Whether it only asks what there is, as Alembic and careful revisions do, or marks a place to come back to."""
    try:
        return all(_is_catalog_query(part.kind, part.body) for part in parse(sql))
    except SyntaxUnknownError:
        return False


def _is_catalog_query(kind: str, body: Any) -> bool:
    if kind == "transaction_stmt":
        return body.get("kind") in ("TRANS_STMT_SAVEPOINT", "TRANS_STMT_ROLLBACK_TO", "TRANS_STMT_RELEASE")
    if kind != "select_stmt":
        return kind == "variable_show_stmt"
    nodes = list(walk(dict(body)))
    tables = [node for found, node in nodes if found == "range_var"]
    functions = [node["funcname"][-1]["string"]["sval"] for found, node in nodes if found == "func_call"]
    if tables:
        return all(
            node.get("schemaname") in ("pg_catalog", "information_schema") or node["relname"].startswith("pg_")
            for node in tables
        )
    return all(name in _HARMLESS or name.startswith("pg_get_") for name in functions)


def split(sql: str) -> list[str]:
    """Its statements; the text itself where the parser does not know it or it controls transactions."""
    try:
        parts = parse(sql)
    except SyntaxUnknownError:
        return [sql]
    if len(parts) < 2 or any(part.kind == "transaction_stmt" for part in parts):
        return [sql]
    return [part.sql for part in parts]


def must_be_alone(sql: str) -> bool:
    """Whether it cannot run inside a transaction, or should not be tried there."""
    try:
        parts = parse(sql)
    except SyntaxUnknownError:
        return True
    return len(parts) != 1 or any(
        part.kind in _ALONE
        or (part.kind == "cluster_stmt" and "relation" not in part.body)
        or _is_concurrent(part.body)
        for part in parts
    )


def is_concurrent(sql: str) -> bool:
    """Whether it works in several transactions of its own beside others."""
    try:
        return any(_is_concurrent(part.body) for part in parse(sql))
    except SyntaxUnknownError:
        return False


def only_sets(sql: str) -> bool:
    """Whether it only changes a setting of the session."""
    try:
        return all(part.kind == "variable_set_stmt" for part in parse(sql))
    except SyntaxUnknownError:
        return False


def _is_concurrent(body: Any) -> bool:
    if body.get("concurrent"):
        return True
    options = [node.get("defname") for kind, node in walk(dict(body)) if kind == "def_elem"]
    commands = [node for kind, node in walk(dict(body)) if kind == "partition_cmd"]
    return "concurrently" in options or any(node.get("concurrent") for node in commands)


def show(sql: str, context: Any, dialect: Any, *, plain: bool) -> str:
    """The text for people: with its values, and without the driver's escapes."""
    compiled = getattr(context, "compiled", None)
    statement = getattr(compiled, "statement", None)
    parameters = getattr(context, "compiled_parameters", None)
    if statement is not None and parameters and parameters[0]:
        return render_sql(statement, parameters[0]).strip().rstrip(";")
    if not plain and dialect.paramstyle in ("format", "pyformat"):
        sql = sql.replace("%%", "%")
    return sql.strip().rstrip(";").strip()
