"""From what was sent to statements, each in the transaction that it will run in."""

import ast
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from remit.migrations.lint.errors import LintError
from remit.migrations.lint.functions import Functions
from remit.migrations.lint.model import Direction, Event, Statement
from remit.migrations.lint.parse import Parsed, SyntaxUnknownError, find_changing_parts, parse, parse_block

TIMEOUTS = ("lock_timeout", "statement_timeout")
_BEGINS = ("TRANS_STMT_BEGIN", "TRANS_STMT_START")
_ENDS = ("TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK")


@dataclass(frozen=True)
class Environment:
    """What env.py does for every revision.

    Args:
        transaction_per_migration: whether each revision has a transaction of its own.
        timeouts: the time limits that a session starts with, as written.
    """

    transaction_per_migration: bool
    timeouts: dict[str, str]


def split_statements(events: Sequence[Event], direction: Direction, *, per_migration: bool) -> list[Statement]:
    """The statements of the revisions, in order.

    Raises:
        LintError: PostgreSQL's grammar does not know one of them.
    """
    # An offline branch of env.py without a transaction prints none; the online one always has one.
    number, inside = 0, not any(event.revision is None and event.sql.startswith("BEGIN") for event in events)
    last: str | None = None
    found: list[Statement] = []
    functions = Functions()
    for event in events:
        if per_migration and event.revision is not None and event.revision != last:
            number, last = number + 1, event.revision
        for parsed in _parse_event(event):
            functions.note(parsed)
            if parsed.kind == "transaction_stmt":
                kind = parsed.body["kind"]
                inside = kind in _BEGINS or (inside and kind not in _ENDS)
                number += kind in _BEGINS or kind in _ENDS
            elif event.revision is not None:
                found.append(_make_statement(event, parsed, direction, number if inside else None, functions))
    return found


def _make_statement(
    event: Event, parsed: Parsed, direction: Direction, transaction: int | None, functions: Functions
) -> Statement:
    assert event.revision is not None

    def make(part: Parsed, inner: tuple[Statement, ...] = ()) -> Statement:
        assert event.revision is not None
        return Statement(event.revision, direction, part.sql, part.kind, part.body, transaction, event.sites, inner)

    block = parse_block(parsed.sql) if parsed.kind == "do_stmt" else [parsed]
    block += functions.list_called(block)
    parts = [inner for part in block for inner in (part, *find_changing_parts(part)) if inner is not parsed]
    return make(parsed, tuple(make(part) for part in parts))


def _parse_event(event: Event) -> tuple[Parsed, ...]:
    try:
        return parse(event.sql)
    except SyntaxUnknownError as error:
        place = f" at {event.sites[-1].file}:{event.sites[-1].line}" if event.sites else ""
        text = " ".join(event.sql.split())[:120]
        raise LintError(
            f"revision {event.revision or 'env.py'}{place}: PostgreSQL's grammar does not have this ({error}): {text}"
        ) from error


def read_environment(file: Path, options: dict[str, object], events: Iterable[Event]) -> Environment:
    """What env.py sets, in the run offline and, as far as it is written out, for the run online.

    Args:
        file: env.py.
        options: what it gave to `context.configure` offline.
        events: what it sent before the first revision.
    """
    timeouts: dict[str, str] = {}
    tree = ast.parse(file.read_text())
    for text in _find_settings(tree):
        timeouts.update(text)
    for event in events:
        for parsed in _parse_event(event):
            timeouts.update(read_set(parsed.kind, dict(parsed.body)))
    per_migration = bool(options.get("transaction_per_migration")) or _says_per_migration(tree)
    return Environment(per_migration, {name: value for name, value in timeouts.items() if name in TIMEOUTS})


def _says_per_migration(tree: ast.AST) -> bool:
    name = "transaction_per_migration"
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == name and _is_true(node.value):
            return True
        if isinstance(node, ast.Dict) and any(
            isinstance(key, ast.Constant) and key.value == name and _is_true(value)
            for key, value in zip(node.keys, node.values, strict=True)
        ):
            return True
    return False


def _is_true(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _find_settings(tree: ast.AST) -> Iterable[dict[str, str]]:
    """Time limits in env.py: a SET statement, libpq's options `-c name=value`, or a mapping of server settings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield {
                key.value: str(value.value)
                for key, value in pairs
                if isinstance(key, ast.Constant) and key.value in TIMEOUTS and isinstance(value, ast.Constant)
            }
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _read_setting(node.value)


def _read_setting(text: str) -> dict[str, str]:
    if not any(name in text for name in TIMEOUTS):
        return {}
    try:
        return {
            name: value for parsed in parse(text) for name, value in read_set(parsed.kind, dict(parsed.body)).items()
        }
    except SyntaxUnknownError:
        pass
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    options = [second for first, second in pairwise(words) if first == "-c"]
    options += [word.removeprefix("-c") for word in words if word.startswith("-c") and "=" in word]
    return {name: value for name, _, value in (option.partition("=") for option in options) if name in TIMEOUTS}


def read_set(kind: str, body: dict[str, object]) -> dict[str, str]:
    """The settings that a SET statement makes, by name; those of `set_config` too."""
    if kind == "variable_set_stmt" and body.get("kind") == "VAR_SET_VALUE":
        return {str(body["name"]): _read_value(body)}
    return {}


def _read_value(body: dict[str, object]) -> str:
    arguments = body.get("args")
    assert isinstance(arguments, list)
    constant = arguments[0].get("a_const", {})
    for name in ("sval", "ival", "fval"):
        if name in constant:
            return str(constant[name].get(name, 0))
    return ""
