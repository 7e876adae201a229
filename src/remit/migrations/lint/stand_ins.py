"""What a real server has and the scratch server has not: extensions of other packages, and the project's roles."""

from collections.abc import Callable

from remit.migrations.lint.parse import Parsed, SyntaxUnknownError, parse, walk

_NOTHING = "SELECT 1"


def prepare_for_scratch(sql: str, extensions: set[str], execute: Callable[[str], object]) -> str:
    """The text to run instead: without the extensions that are not there. Roles that it names are made before.

    Args:
        sql: what a revision sends.
        extensions: those that the server has.
        execute: runs a statement.
    """
    try:
        statements = parse(sql)
    except SyntaxUnknownError:
        return sql
    for role in sorted({role for statement in statements for role in _find_roles(statement)}):
        name, literal = role.replace('"', '""'), role.replace("'", "''")
        execute(
            f"DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{literal}') THEN "
            f'CREATE ROLE "{name}"; END IF; END $do$'
        )
    if all(_is_there(statement, extensions) for statement in statements):
        return sql
    return "; ".join(statement.sql if _is_there(statement, extensions) else _NOTHING for statement in statements)


def _is_there(statement: Parsed, extensions: set[str]) -> bool:
    return statement.kind != "create_extension_stmt" or statement.body["extname"] in extensions


def _find_roles(statement: Parsed) -> set[str]:
    """The roles that a statement needs; CREATE ROLE and DROP ROLE make their own."""
    if statement.kind in ("create_role_stmt", "drop_role_stmt"):
        return set()
    return {
        node["rolename"]
        for _, node in walk(dict(statement.body))
        if "rolename" in node and node.get("roletype") == "ROLESPEC_CSTRING"
    }
