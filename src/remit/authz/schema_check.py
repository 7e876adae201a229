"""Type-checks a schema: every name, every arrow, every kind of subject.

The rules are SpiceDB's (pkg/schema): what it refuses is refused here, what it loads is loaded here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from remit.authz.schema_cycles import refuse_endless_permissions
from remit.authz.schema_tree import (
    AllowedType,
    Arrow,
    Definition,
    Permission,
    Reference,
    Relation,
    Schema,
    walk_expression,
)


def check_schema(schema: Schema) -> Schema:
    """Check a parsed schema and return it.

    Raises:
        SchemaError: the first name or type that is wrong, with its place and a near name.
    """
    seen: set[str] = set()
    for definition in schema.definitions:
        if definition.name in seen:
            raise schema.error(f"definition {definition.name!r} is given twice", definition.place)
        seen.add(definition.name)
    for definition in schema.definitions:
        _check_definition(schema, definition)
    return schema


def suggest(name: str, known: Iterable[str]) -> str | None:
    """A sentence with the nearest known name."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None


def _check_definition(schema: Schema, definition: Definition) -> None:
    seen: set[str] = set()
    for member in definition.members:
        if member.name in seen:
            raise schema.error(f"{member.name!r} is given twice in definition {definition.name!r}", member.place)
        seen.add(member.name)
    for member in definition.members:
        if isinstance(member, Relation):
            _check_relation(schema, member)
        else:
            _check_permission(schema, definition, member)
    refuse_endless_permissions(schema, definition)


def _check_relation(schema: Schema, relation: Relation) -> None:
    seen: set[AllowedType] = set()
    for allowed in relation.allowed:
        target = schema.get(allowed.type)
        if target is None:
            raise schema.error(
                f"no definition {allowed.type!r}",
                allowed.place,
                suggest(allowed.type, (definition.name for definition in schema.definitions)),
            )
        if allowed.relation is not None and target.get(allowed.relation) is None:
            raise schema.error(
                f"definition {allowed.type!r} has no relation or permission {allowed.relation!r}",
                allowed.place,
                suggest(allowed.relation, (member.name for member in target.members)),
            )
        wildcard = None if allowed.relation is None else find_wildcard(schema, allowed.type, allowed.relation)
        if wildcard is not None:
            raise schema.error(
                f"{allowed.type}#{allowed.relation} takes {wildcard}; a wildcard cannot be included through a set",
                allowed.place,
                "write the wildcard to this relation itself",
            )
        if allowed.expiration and "expiration" not in schema.flags:
            raise schema.error(
                "'with expiration' needs the flag", allowed.place, "write 'use expiration' at the top of the file"
            )
        if allowed in seen:
            raise schema.error(f"{allowed} is given twice in relation {relation.name!r}", allowed.place)
        seen.add(allowed)


def _check_permission(schema: Schema, definition: Definition, permission: Permission) -> None:
    # SpiceDB reads annotations past, unless the flag asks for their check.
    annotation = permission.annotation if "typechecking" in schema.flags else ()
    for name in annotation:
        if schema.get(name) is None:
            known = (known.name for known in schema.definitions)
            raise schema.error(f"no definition {name!r}", permission.place, suggest(name, known))
    for part in walk_expression(permission.expression):
        if isinstance(part, Reference) and definition.get(part.name) is None:
            raise schema.error(
                f"definition {definition.name!r} has no relation or permission {part.name!r}",
                part.place,
                suggest(part.name, (member.name for member in definition.members)),
            )
        if isinstance(part, Arrow):
            _check_arrow(schema, definition, part)

    if annotation:
        missing = subject_types(schema, definition.name, permission.name) - set(annotation)
        if missing:
            raise schema.error(
                f"permission {permission.name!r} can also be held by {', '.join(sorted(missing))}",
                permission.place,
                f"declare it: {' | '.join(sorted(missing.union(annotation)))}",
            )


def _walk_relations(schema: Schema, type_name: str, name: str) -> Iterator[Relation]:
    """Every relation whose subjects may end up holding a relation or permission."""
    seen: set[tuple[str, str]] = set()
    waiting = [(type_name, name)]
    while waiting:
        node = waiting.pop()
        definition = schema.get(node[0])
        member = definition.get(node[1]) if definition else None
        if node in seen or definition is None or member is None:
            continue
        seen.add(node)
        if isinstance(member, Relation):
            yield member
            waiting += [(allowed.type, allowed.relation) for allowed in member.allowed if allowed.relation is not None]
            continue
        for part in walk_expression(member.expression):
            if isinstance(part, Reference):
                waiting.append((node[0], part.name))
            if isinstance(part, Arrow):
                relation = definition.get(part.relation)
                if isinstance(relation, Relation):
                    waiting += [(allowed.type, part.name) for allowed in relation.allowed]


def find_wildcard(schema: Schema, type_name: str, name: str) -> str | None:
    """The wildcard that a relation or permission includes, if any: `user:*`."""
    for relation in _walk_relations(schema, type_name, name):
        for allowed in relation.allowed:
            if allowed.wildcard:
                return f"{allowed.type}:*"
    return None


def find_set(schema: Schema, type_name: str, name: str) -> str | None:
    """The first kind of set that a relation or permission includes, if any: `group#member`."""
    for relation in _walk_relations(schema, type_name, name):
        for allowed in relation.allowed:
            if allowed.relation is not None:
                return f"{allowed.type}#{allowed.relation}"
    return None


def subject_types(schema: Schema, type_name: str, name: str) -> set[str]:
    """The types of plain subjects that may hold a relation or permission."""
    return {
        allowed.type
        for relation in _walk_relations(schema, type_name, name)
        for allowed in relation.allowed
        if allowed.relation is None
    }


def _check_arrow(schema: Schema, definition: Definition, arrow: Arrow) -> None:
    relation = definition.get(arrow.relation)
    if relation is None:
        names = (member.name for member in definition.members if isinstance(member, Relation))
        raise schema.error(
            f"definition {definition.name!r} has no relation {arrow.relation!r}",
            arrow.place,
            suggest(arrow.relation, names),
        )
    if isinstance(relation, Permission):
        raise schema.error(
            f"{arrow.relation!r} is a permission; an arrow starts at a relation",
            arrow.place,
            "use the relations that the permission is made of",
        )
    wildcard = find_wildcard(schema, definition.name, relation.name)
    if wildcard is not None:
        raise schema.error(
            f"relation {arrow.relation!r} takes {wildcard}, so no arrow can start at it",
            arrow.place,
            "use a relation without a wildcard",
        )
    targets = [schema.get(allowed.type) for allowed in relation.allowed]
    if not any(target is not None and target.get(arrow.name) is not None for target in targets):
        names = (member.name for target in targets if target is not None for member in target.members)
        raise schema.error(
            f"nothing that relation {arrow.relation!r} takes has a relation or permission {arrow.name!r}",
            arrow.place,
            suggest(arrow.name, names),
        )
