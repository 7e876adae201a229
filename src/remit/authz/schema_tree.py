"""SpiceDB's schema language as a tree: definitions, relations, permissions and their expressions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from remit.authz.errors import SchemaError


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; line and column count from 1."""

    line: int
    column: int


NOWHERE: Final = Place(0, 0)


@dataclass(frozen=True, slots=True)
class Reference:
    """A relation or permission of the same definition."""

    name: str
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Arrow:
    """`relation->name`: the permission on what the relation points at.

    With `every` (`.all()`) each of the objects must grant it, and there must be one; otherwise any of them.
    """

    relation: str
    name: str
    every: bool = False
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Nil:
    """Nobody."""


@dataclass(frozen=True, slots=True)
class Self:
    """The object itself, as a subject. A keyword only under `use self`."""


@dataclass(frozen=True, slots=True)
class Union:
    """Who is in any of the parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Intersection:
    """Who is in all of the parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Who is in `base` and not in `removed`."""

    base: Expression
    removed: Expression


Expression = Reference | Arrow | Nil | Self | Union | Intersection | Exclusion


def walk_expression(expression: Expression) -> Iterator[Expression]:
    """Yield an expression and everything inside it, from the left."""
    yield expression
    match expression:
        case Union(parts) | Intersection(parts):
            for part in parts:
                yield from walk_expression(part)
        case Exclusion(base, removed):
            yield from walk_expression(base)
            yield from walk_expression(removed)


@dataclass(frozen=True, slots=True)
class AllowedType:
    """A kind of subject that a relation takes: `user`, `user:*`, `group#member`, each perhaps `with expiration`."""

    type: str
    relation: str | None = None
    wildcard: bool = False
    expiration: bool = False
    place: Place = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        text = self.type + (":*" if self.wildcard else f"#{self.relation}" if self.relation else "")
        return f"{text} with expiration" if self.expiration else text


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation that relationships are written to."""

    name: str
    allowed: tuple[AllowedType, ...]
    doc: tuple[str, ...] = ()
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission computed from relationships.

    Attributes:
        annotation: the subject types declared under `use typechecking`, empty for none.
    """

    name: str
    expression: Expression
    annotation: tuple[str, ...] = ()
    doc: tuple[str, ...] = ()
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Definition:
    """A type of object, with relations and permissions in the order written.

    Attributes:
        closing: the comments behind the last of them.
    """

    name: str
    members: tuple[Relation | Permission, ...]
    doc: tuple[str, ...] = ()
    place: Place = field(default=NOWHERE, compare=False)
    closing: tuple[str, ...] = ()

    def get(self, name: str) -> Relation | Permission | None:
        """The relation or permission of that name."""
        return next((member for member in self.members if member.name == name), None)


@dataclass(frozen=True, slots=True)
class Schema:
    """A parsed schema.

    Attributes:
        definitions: the types, in the order written.
        flags: names after `use`, sorted.
        source: the text it was read from.
        file: name of its file, for error messages.
        doc: the comments at the flags.
        closing: the comments behind the last definition.
    """

    definitions: tuple[Definition, ...]
    flags: tuple[str, ...] = ()
    source: str = field(default="", compare=False)
    file: str = field(default="schema.zed", compare=False)
    doc: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
    _by_name: dict[str, Definition] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {definition.name: definition for definition in self.definitions})

    def get(self, name: str) -> Definition | None:
        """The definition of that name."""
        return self._by_name.get(name)

    def error(self, reason: str, place: Place, suggestion: str | None = None) -> SchemaError:
        """An error that points at a place of this schema."""
        return error_at(reason, self.source, self.file, place, suggestion)


def error_at(reason: str, source: str, file: str, place: Place, suggestion: str | None = None) -> SchemaError:
    """An error that points at a place of a source."""
    lines = source.split("\n")
    line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    return SchemaError(
        reason, file=file, line=place.line, column=place.column, source_line=line.rstrip("\r"), suggestion=suggestion
    )
