"""Nothing outside `authz` compares a role or an owner: what a principal may is asked of the engine."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "remit"
ROLES = {"admin", "member", "viewer", "editor", "owner", "agent_member"}
CREATORS = {"creator_user_id", "creator_service_account_id", "creator_agent_id", "owner", "owner_id", "role", "roles"}
_SQL = re.compile(r"\b(creator_(user|service_account|agent)_id|owner_id|role)\s*(=|<>|!=|\bIN\b)")

# What is compared and decides nothing about who may: each with its reason.
ALLOWED = {
    ("db/data_dir.py", "owner != 0"): "the owner of a folder on disk",
    ("db/data_dir.py", "owner == 0"): "the owner of a folder on disk",
    ("identity/subjects.py", "role in held.get(row['id'], ())"): "the administrator's list shows each subject's role",
    ("identity/subjects.py", "fact.relation != role"): "the administrator's command replaces a role by another",
}
# Whole parts: the commands are the operator's, and the migration linter's roles are the database's.
LEFT_OUT = ("authz", "migrations", "cli", "demo")


def name_of(node: ast.expr) -> str | None:
    """The name that an expression ends in: of a variable, an attribute or a key."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return None


def strings_of(node: ast.expr) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def comparisons(source: str) -> Iterator[tuple[int, str]]:
    """The lines on which a role or an owner is compared, in Python or in SQL."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = {name for side in sides if (name := name_of(side)) is not None} & CREATORS
            literal = set().union(*(strings_of(side) for side in sides)) & ROLES
            nothing = any(isinstance(side, ast.Constant) and side.value is None for side in sides)
            if literal or (named and not nothing):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.match_case):
            found = {
                part.value.value
                for part in ast.walk(node.pattern)
                if isinstance(part, ast.MatchValue) and isinstance(part.value, ast.Constant)
            }
            if found & ROLES:
                yield node.pattern.lineno, ast.unparse(node.pattern)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := _SQL.search(node.value)):
            yield node.lineno, match[0]


def modules() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if path.relative_to(SOURCE).parts[0] not in LEFT_OUT]


def test_no_role_or_owner_is_compared() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text}"
        for path in modules()
        for line, text in comparisons(path.read_text("utf-8"))
        if (str(path.relative_to(SOURCE)), text) not in ALLOWED
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "if caller.role == 'admin': pass",
        "if 'owner' in roles: pass",
        "allowed = row['creator_user_id'] == caller.id",
        "if task.creator_agent_id != principal.id: pass",
        "match role:\n    case 'admin': pass",
        "sql = 'SELECT 1 FROM tasks t WHERE t.creator_user_id = $1'",
        "if principal.role in ('admin', 'member'): pass",
    ],
)
def test_a_comparison_is_found(source: str) -> None:
    assert list(comparisons(source))


def test_what_is_no_comparison_is_not_found() -> None:
    harmless = (
        "role = 'admin'\nif row['creator_user_id'] is None: pass\nengine.check(connection, subject, 'read', task)"
    )
    assert list(comparisons(harmless)) == []
