"""Prints a schema; what it prints parses to the same schema."""

from __future__ import annotations

from remit.authz.schema_tree import (
    Arrow,
    Definition,
    Exclusion,
    Expression,
    Intersection,
    Nil,
    Permission,
    Reference,
    Relation,
    Schema,
    Self,
    Union,
)


def print_schema(schema: Schema) -> str:
    """The schema in SpiceDB's language, with all its comments, ordered as written."""
    head = "\n".join([*_print_comments(schema.doc), *(f"use {flag}" for flag in schema.flags)])
    definitions = (_print_definition(definition) for definition in schema.definitions)
    return "\n\n".join(part for part in (head, *definitions, "\n".join(_print_comments(schema.closing))) if part) + "\n"


def print_expression(expression: Expression) -> str:
    """One permission's expression, with parentheses wherever parts of different kinds meet."""
    match expression:
        case Reference(name):
            return name
        case Arrow(relation, name, every):
            return f"{relation}.all({name})" if every else f"{relation}->{name}"
        case Nil():
            return "nil"
        case Self():
            return "self"
        case Union(parts):
            return " + ".join(_print_part(part) for part in parts)
        case Intersection(parts):
            return " & ".join(_print_part(part) for part in parts)
        case Exclusion(base, removed):
            left = print_expression(base) if isinstance(base, Exclusion) else _print_part(base)
            return f"{left} - {_print_part(removed)}"


def _print_part(part: Expression) -> str:
    text = print_expression(part)
    return f"({text})" if isinstance(part, Union | Intersection | Exclusion) else text


def _print_definition(definition: Definition) -> str:
    lines = _print_comments(definition.doc)
    if not definition.members and not definition.closing:
        return "\n".join([*lines, f"definition {definition.name} {{}}"])
    lines.append(f"definition {definition.name} {{")
    for member in definition.members:
        lines += [*_print_comments(member.doc, "    "), f"    {_print_member(member)}"]
    return "\n".join([*lines, *_print_comments(definition.closing, "    "), "}"])


def _print_comments(comments: tuple[str, ...], indent: str = "") -> list[str]:
    """Comments on lines of their own, with the stars of a block under each other."""
    lines = [line for comment in comments for line in comment.split("\n")]
    return [f"{indent}{' ' if line.startswith('*') else ''}{line}".rstrip() for line in lines]


def _print_member(member: Relation | Permission) -> str:
    if isinstance(member, Relation):
        return f"relation {member.name}: {' | '.join(str(allowed) for allowed in member.allowed)}"
    annotation = f": {' | '.join(member.annotation)}" if member.annotation else ""
    return f"permission {member.name}{annotation} = {print_expression(member.expression)}"
