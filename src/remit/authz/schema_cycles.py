"""Permissions that refer to themselves on the same object.

SpiceDB refuses a circle of mere names (`permission one = two`, `permission two = one`) and loads every other. What it
loads it answers where a part outside of the circle decides, and meets its depth limit elsewhere. Here a circle is
loaded where it has a way out, and is read as the least that it says: `permission see = see + owner` is `owner`. One
without a way out, or one that excludes itself, would never be answered by SpiceDB, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from remit.authz.schema_tree import (
    Definition,
    Exclusion,
    Expression,
    Intersection,
    Permission,
    Reference,
    Schema,
    Union,
    walk_expression,
)


def refuse_endless_permissions(schema: Schema, definition: Definition) -> None:
    """Refuse circles of permissions that lead nowhere.

    Raises:
        SchemaError: one of them, with its way round.
    """
    permissions = {member.name: member for member in definition.members if isinstance(member, Permission)}
    named = {name: _named(member.expression, permissions) for name, member in permissions.items()}
    grounded = _grounded(permissions)
    for name, permission in permissions.items():
        if name not in grounded:
            left = {known: [other for other in named[known] if other not in grounded] for known in named}
            cycle = _find_circle(name, left)
            raise schema.error(
                f"permissions refer to each other with no way out: {' -> '.join(cycle)}",
                permissions[cycle[0]].place,
                f"leave one of them out, or lead it to another resource by an arrow, for example parent->{cycle[0]}",
            )
        for part in walk_expression(permission.expression):
            for removed in _named(part.removed, permissions) if isinstance(part, Exclusion) else ():
                if removed == name or name in _reached(removed, named):
                    raise schema.error(
                        f"permission {name!r} excludes itself by {removed!r}, so that it has no answer",
                        permission.place,
                        f"exclude relations, or a permission that does not lead back to {name!r}",
                    )


def _named(expression: Expression, permissions: Mapping[str, Permission]) -> list[str]:
    """The permissions of the same object that an expression names."""
    names = (part.name for part in walk_expression(expression) if isinstance(part, Reference))
    return [name for name in dict.fromkeys(names) if name in permissions]


def _grounded(permissions: Mapping[str, Permission]) -> set[str]:
    """The permissions that something outside of every circle can grant."""
    grounded: set[str] = set()

    def holds(expression: Expression) -> bool:
        match expression:
            case Reference(name):
                return name in grounded or name not in permissions
            case Union(parts):
                return any(map(holds, parts))
            case Intersection(parts):
                return all(map(holds, parts))
            case Exclusion(base):
                return holds(base)
        return True

    found = -1
    while found < len(grounded):
        found = len(grounded)
        grounded |= {name for name, permission in permissions.items() if holds(permission.expression)}
    return grounded


def _find_circle(start: str, named: Mapping[str, list[str]]) -> list[str]:
    """The way from a permission to the first one that is met twice, from that one on."""
    path = [start]
    while path[-1] not in path[:-1]:
        path.append(named[path[-1]][0])
    return path[path.index(path[-1]) :]


def _reached(start: str, named: Mapping[str, list[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for name in named[waiting.pop()]:
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return reached
