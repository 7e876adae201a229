"""Texts that match a regular expression, for CHECKs that have one."""

import importlib
import re
import warnings
from collections.abc import Iterable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    # The standard library's own, without a public name.
    parser: Any = importlib.import_module("re._parser")

_TRIED = "a0A-_. bzZ9@/:#"
_MANY = 12


def make_match(pattern: str) -> str | None:
    """A text that matches, or None where the pattern is beyond this.

    The database decides whether it really does: PostgreSQL's expressions differ from Python's in small things.
    """
    try:
        return _make(parser.parse(pattern))
    except (re.error, OverflowError, _TooHardError):
        return None


def make_distinct_match(pattern: str) -> str | None:
    """An SQL expression over `g` whose texts match and differ from row to row, or None."""
    try:
        parsed = list(parser.parse(pattern))
        for position, (kind, argument) in enumerate(parsed):
            if str(kind) not in ("MAX_REPEAT", "MIN_REPEAT"):
                continue
            least, most, inner = argument
            most = min(int(most), max(int(least), _MANY))
            if most < 6 or not all(_matches(inner, digit) for digit in "0123456789"):
                continue
            before, after = _make(parsed[:position]), _make(parsed[position + 1 :])
            return f"('{_quote(before)}' || lpad(g::text, {most}, '0') || '{_quote(after)}')"
    except (re.error, OverflowError, _TooHardError):
        pass
    return None


class _TooHardError(Exception):
    """Look-arounds, references and the like."""


def _quote(text: str) -> str:
    return text.replace("'", "''")


def _matches(inner: Any, char: str) -> bool:
    [(kind, argument)] = list(inner) if len(inner) == 1 else [(None, None)]
    return kind is not None and char in (_choose(kind, argument, char) or "")


def _make(parsed: Iterable[tuple[Any, Any]]) -> str:
    return "".join(_make_one(str(kind), argument) for kind, argument in parsed)


def _make_one(kind: str, argument: Any) -> str:
    match kind:
        case "LITERAL":
            return chr(argument)
        case "AT":
            return ""
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, _, inner = argument
            return _make(inner) * max(int(least), 1 if int(argument[1]) > 0 else 0)
        case "SUBPATTERN":
            return _make(argument[3])
        case "BRANCH":
            return _make(argument[1][0])
        case "IN" | "ANY" | "NOT_LITERAL" | "CATEGORY":
            for char in _TRIED:
                if _choose(kind, argument, char):
                    return char
            if kind == "IN" and str(argument[0][0]) in ("LITERAL", "RANGE"):
                first = argument[0][1]
                return chr(first if isinstance(first, int) else first[0])
    raise _TooHardError


def _choose(kind: Any, argument: Any, char: str) -> str | None:
    """The character if one element of a pattern takes it."""
    match str(kind):
        case "ANY":
            return char
        case "LITERAL":
            return char if ord(char) == argument else None
        case "NOT_LITERAL":
            return char if ord(char) != argument else None
        case "RANGE":
            return char if argument[0] <= ord(char) <= argument[1] else None
        case "CATEGORY":
            return char if _is_in_category(str(argument), char) else None
        case "IN":
            negated = str(argument[0][0]) == "NEGATE"
            inside = any(_choose(part, value, char) for part, value in argument[negated:])
            return char if inside != negated else None
    return None


def _is_in_category(name: str, char: str) -> bool:
    negated = "NOT" in name
    if "DIGIT" in name:
        return char.isdigit() != negated
    if "SPACE" in name:
        return char.isspace() != negated
    return (char.isalnum() or char == "_") != negated
