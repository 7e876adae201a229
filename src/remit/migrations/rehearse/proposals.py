"""Values that a condition's own constants suggest."""

from collections.abc import Mapping, Sequence

from remit.migrations.lint.parse import SyntaxUnknownError, parse, walk
from remit.migrations.rehearse.catalog import Check, Column
from remit.migrations.rehearse.patterns import make_distinct_match, make_match
from remit.migrations.rehearse.values import Value, literal

_NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8")
_RANGE_STEPS = {
    "int4range": ("int4", "::int4"), "int8range": ("int8", "::int8"), "numrange": ("numeric", "::numeric"),
    "daterange": ("date", "::int4"), "tsrange": ("timestamp", " * interval '1 hour'"),
    "tstzrange": ("timestamptz", " * interval '1 hour'"),
}  # fmt: skip
_TEXTS = ("text", "varchar", "bpchar", "citext", "name")


def propose(column: Column, checks: Sequence[Check]) -> list[Value]:
    """Values for a column, from the constants of the conditions that name it."""
    found: list[Value] = []
    for check in checks:
        numbers, texts, patterns = _read_constants(check.expression)
        if column.base in _NUMBERS:
            found += _propose_numbers(column, [*numbers, *(float(text) for text in texts if _is_number(text))])
        elif column.base in _TEXTS:
            found += [Value(f"{literal(text)}::{column.type}") for text in texts]
            found += _propose_texts(numbers, texts, patterns)
        elif column.base == "bytea":
            lengths = [int(number) + step for number in numbers for step in (0, 1, -1)]
            found += [Value(f"decode(repeat('00', {length}), 'hex')") for length in lengths]
        elif column.base in ("json", "jsonb"):
            for text in texts:
                found += [Value(f"jsonb_build_object({literal(text)}, {one})::{column.base}") for one in ("1", "'a'")]
        elif column.kind == "r":
            found += _propose_ranges(column, numbers, texts)
        elif column.element is not None:
            found += [Value(f"ARRAY[{literal(text)}]::{column.type}") for text in texts]
        else:
            found += _propose_moments(column, texts)
    return found


def read_tree(expression: str) -> Mapping[str, object]:
    """The parse tree of an expression; empty where the parser does not know it."""
    try:
        return parse(f"SELECT {expression}")[0].body
    except SyntaxUnknownError:
        return {}


def _propose_numbers(column: Column, numbers: Sequence[float]) -> list[Value]:
    found = []
    for number in numbers:
        found += [Value(f"({number + step:.15g})::{column.type}") for step in (0, 1, -1, 0.5)]
        found.append(Value(f"({number:.15g} + g)::{column.type}", True))
    if len(numbers) > 1:
        found.append(Value(f"({(min(numbers) + max(numbers)) / 2:.15g})::{column.type}"))
    return found


def _propose_moments(column: Column, texts: Sequence[str]) -> list[Value]:
    found = [Value(f"{literal(text)}::{column.type}") for text in texts]
    for text in texts:
        found += [Value(f"({literal(text)}::{column.type} + interval '{n} day')::{column.type}") for n in (1, -1)]
    return found


def _propose_ranges(column: Column, numbers: Sequence[float], texts: Sequence[str]) -> list[Value]:
    """Ranges that begin at a constant, each a little later than the one before."""
    step = _RANGE_STEPS.get(column.base)
    bounds = [f"{number:.15g}" for number in numbers] + [literal(text) for text in texts]
    if step is None:
        return [Value(f"{column.type}({bound}, NULL)") for bound in bounds]
    bound_type, unit = step
    found = []
    for bound in bounds:
        for shift in ("g", "1 + g", "-1 - g"):
            low = f"({bound}::{bound_type} + ({shift}){unit})::{bound_type}"
            found.append(Value(f"{column.type}({low}, ({low} + 1{unit})::{bound_type})", True))
    return found


def _propose_texts(numbers: Sequence[float], texts: Sequence[str], patterns: Sequence[str]) -> list[Value]:
    found = []
    for number in numbers:
        for length in (int(number) + step for step in (0, 1, -1)):
            if 0 <= length <= 10_000:
                found.append(Value(f"repeat('x', {length})"))
                if length >= 6:
                    found.append(Value(f"lpad(g::text, {length}, '0')", True))
    for text in texts:
        like = text.replace("%", "a").replace("_", "b")
        found += [Value(literal(like)), Value(f"({literal(text.replace('%', ''))} || g)", True)]
        found.append(Value(f"(g || {literal(text.replace('%', ''))})", True))
    for pattern in patterns:
        each, one = make_distinct_match(pattern), make_match(pattern)
        found += [Value(each, True)] if each else []
        found += [Value(literal(one))] if one is not None else []
    return found


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < 1e15
    except ValueError:
        return False


def _read_constants(expression: str) -> tuple[list[float], list[str], list[str]]:
    numbers, texts, patterns = [], [], []
    body = dict(read_tree(expression))
    for kind, node in walk(body):
        if kind == "a_const":
            if "ival" in node:
                numbers.append(float(node["ival"].get("ival", 0)))
            elif "fval" in node:
                numbers.append(float(node["fval"]["fval"]))
            elif "sval" in node:
                texts.append(node["sval"].get("sval", ""))
        if kind == "a_expr" and any(item["string"]["sval"] in ("~", "~*") for item in node.get("name", ())):
            patterns += [
                part["sval"].get("sval", "") for found, part in walk(node) if found == "a_const" and "sval" in part
            ]
    return list(dict.fromkeys(numbers)), list(dict.fromkeys(texts)), patterns
