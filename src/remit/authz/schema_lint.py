"""Finds what a schema says and hardly means: it loads, and answers otherwise than its author expects.

A finding is silenced by a comment on its line or above its relation or permission: `// lint: RULE because REASON`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from remit.authz.schema_check import find_set, find_wildcard
from remit.authz.schema_print import print_expression
from remit.authz.schema_tree import (
    Arrow,
    Definition,
    Exclusion,
    Expression,
    Intersection,
    Nil,
    Permission,
    Place,
    Reference,
    Relation,
    Schema,
    Self,
    Union,
    walk_expression,
)

MIXED_ARROW: Final = "mixed-arrow"
UNREACHABLE: Final = "unreachable-relation"
NEVER_HELD: Final = "never-held"
OPEN_EXCLUSION: Final = "open-exclusion"

_SILENCED = re.compile(r"//\s*lint:\s*(?P<rule>[a-z-]+)\s+because\s+(?P<reason>\S.*)")
Node = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to think about.

    Attributes:
        rule: its name, for the comment that silences it.
        line: counted from 1.
        column: counted from 1.
        message: what is so.
        suggestion: what to do.
        text: all of it for people, with the line and a caret.
        reason: why it is meant so, as the schema's comment says; None if nothing says so.
    """

    rule: str
    line: int
    column: int
    message: str
    suggestion: str
    text: str
    reason: str | None


def lint_schema(schema: Schema) -> list[Finding]:
    """Every finding of a checked schema, in the order of its lines."""
    held = _holders(schema)
    used = _used(schema)
    found = []
    for definition in schema.definitions:
        for member in definition.members:
            for rule, place, message, suggestion in _judge(schema, definition, member, held, used):
                error = schema.error(f"[{rule}] {message}", place, suggestion)
                reason = _reason(schema, rule, place) or _reason(schema, rule, member.place)
                found.append(Finding(rule, place.line, place.column, message, suggestion, str(error), reason))
    return sorted(found, key=lambda finding: (finding.line, finding.column))


def _judge(
    schema: Schema, definition: Definition, member: Relation | Permission, held: dict[Node, set[str]], used: set[Node]
) -> Iterator[tuple[str, Place, str, str]]:
    name = f"{definition.name}#{member.name}"
    if isinstance(member, Relation):
        if (definition.name, member.name) not in used:
            yield (
                UNREACHABLE,
                member.place,
                f"no permission, arrow or set uses relation {name}: what is written to it grants nothing else",
                "use it in a permission, or remove it",
            )
        if not held[definition.name, member.name]:
            kinds = " | ".join(map(str, member.allowed))
            yield (
                NEVER_HELD,
                member.place,
                f"nobody can ever hold {name}: {kinds} has no member that is not a set itself",
                "let the relation take a plain subject, for example user",
            )
        return
    if not held[definition.name, member.name] and not isinstance(member.expression, Nil):
        yield (
            NEVER_HELD,
            member.place,
            f"nobody can ever hold {name}: no kind of subject satisfies all of its parts",
            "compare the kinds of subjects that its parts take; write nil if it is meant so",
        )
    for part in walk_expression(member.expression):
        if isinstance(part, Arrow):
            yield from _judge_arrow(schema, definition, part)
        elif isinstance(part, Exclusion):
            yield from _judge_exclusion(schema, definition, member, part)


def _judge_arrow(schema: Schema, definition: Definition, arrow: Arrow) -> Iterator[tuple[str, Place, str, str]]:
    relation = definition.get(arrow.relation)
    assert isinstance(relation, Relation), "the schema was checked"
    kinds = {allowed.type for allowed in relation.allowed}
    lacking = sorted(kind for kind in kinds if (found := schema.get(kind)) is None or found.get(arrow.name) is None)
    if lacking:
        effect = "makes the whole arrow fail" if arrow.every else "grants nothing by this arrow"
        message = (
            f"relation {definition.name}#{arrow.relation} can hold {', '.join(lacking)}, which has no {arrow.name!r}: "
            f"such a subject {effect}"
        )
        suggestion = f"give {', '.join(lacking)} a permission {arrow.name!r}, or split the relation by kind"
        yield MIXED_ARROW, arrow.place, message, suggestion


def _judge_exclusion(
    schema: Schema, definition: Definition, member: Permission, exclusion: Exclusion
) -> Iterator[tuple[str, Place, str, str]]:
    name = f"{definition.name}#{member.name}"
    for side, expression in (("is given to", exclusion.base), ("is taken from", exclusion.removed)):
        for part in _named_parts(expression):
            wildcard = _first(find_wildcard(schema, *node) for node in _leads_to(definition, part))
            if wildcard is not None:
                message = (
                    f"{name} {side} {wildcard} by {print_expression(part)!r} and has an exclusion: "
                    "a list of who can names everyone at once, and a check of one of them may differ"
                )
                suggestion = "keep wildcards out of exclusions, or let readers of such lists check each subject"
                yield OPEN_EXCLUSION, part.place, message, suggestion
    for part in _named_parts(exclusion.base):
        held_by = _first(find_set(schema, *node) for node in _leads_to(definition, part))
        if held_by is not None:
            message = (
                f"{name} is given to {held_by} by {print_expression(part)!r} and has an exclusion: a list "
                "of the sets that hold it names the set, and a check of an excluded member of it is denied"
            )
            suggestion = "list the subjects themselves, or let readers of a list of sets check each subject"
            yield OPEN_EXCLUSION, part.place, message, suggestion


def _named_parts(expression: Expression) -> list[Reference | Arrow]:
    return [part for part in walk_expression(expression) if isinstance(part, Reference | Arrow)]


def _leads_to(definition: Definition, part: Reference | Arrow) -> list[Node]:
    """The relations and permissions whose holders a part takes over."""
    if isinstance(part, Reference):
        return [(definition.name, part.name)]
    start = definition.get(part.relation)
    assert isinstance(start, Relation), "the schema was checked"
    return [(allowed.type, part.name) for allowed in start.allowed]


def _first(found: Iterable[str | None]) -> str | None:
    return next((text for text in found if text is not None), None)


def _holders(schema: Schema) -> dict[Node, set[str]]:
    """The types of plain subjects that could hold each relation and permission, whatever is written."""
    held: dict[Node, set[str]] = {(d.name, member.name): set() for d in schema.definitions for member in d.members}
    changed = True
    while changed:
        changed = False
        for definition in schema.definitions:
            for member in definition.members:
                if isinstance(member, Relation):
                    found = {allowed.type for allowed in member.allowed if allowed.relation is None}
                    for allowed in member.allowed:
                        found |= held.get((allowed.type, allowed.relation or ""), set())
                else:
                    found = _could_hold(definition, member.expression, held)
                if found != held[definition.name, member.name]:
                    held[definition.name, member.name] = found
                    changed = True
    return held


def _could_hold(definition: Definition, expression: Expression, held: dict[Node, set[str]]) -> set[str]:
    match expression:
        case Self():
            return {definition.name}
        case Reference(name):
            return held[definition.name, name]
        case Arrow(relation, name):
            start = definition.get(relation)
            assert isinstance(start, Relation), "the schema was checked"
            return set().union(*(held.get((allowed.type, name), set()) for allowed in start.allowed))
        case Union(parts):
            return set().union(*(_could_hold(definition, part, held) for part in parts))
        case Intersection(parts):
            return set.intersection(*(_could_hold(definition, part, held) for part in parts))
        case Exclusion(base, removed):
            return set() if base == removed else _could_hold(definition, base, held)
    return set()


def _used(schema: Schema) -> set[Node]:
    """What anything else reads."""
    used: set[Node] = set()
    for definition in schema.definitions:
        for member in definition.members:
            if isinstance(member, Relation):
                sets = {(allowed.type, allowed.relation) for allowed in member.allowed if allowed.relation is not None}
                used |= sets - {(definition.name, member.name)}
                continue
            for part in walk_expression(member.expression):
                if isinstance(part, Reference):
                    used.add((definition.name, part.name))
                elif isinstance(part, Arrow):
                    start = definition.get(part.relation)
                    assert isinstance(start, Relation), "the schema was checked"
                    used.add((definition.name, part.relation))
                    used |= {(allowed.type, part.name) for allowed in start.allowed}
    return used


def _reason(schema: Schema, rule: str, place: Place) -> str | None:
    """The reason that a comment gives on the line of a place, or in the comments right above it."""
    lines = schema.source.split("\n")
    number = place.line - 1
    while 0 <= number < len(lines):
        match = _SILENCED.search(lines[number])
        if match is not None and match["rule"] == rule:
            return match["reason"].strip()
        number -= 1
        if not lines[number].lstrip().startswith(("//", "/*", "*")):
            return None
    return None
