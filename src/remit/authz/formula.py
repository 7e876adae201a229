"""Formulas over one caller: what a relation or permission asks of the relationships, simplified as they are joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A relation or permission of a type."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class Same:
    """The object is the caller itself."""


@dataclass(frozen=True, slots=True)
class Direct:
    """The caller stands in one of these relations of the object; with `everyone`, `*` of the caller's type does."""

    relations: tuple[str, ...]
    everyone: bool
    expiring: bool


@dataclass(frozen=True, slots=True)
class Hop:
    """One of these relations points at an object on which the caller holds `target`.

    Attributes:
        relations: the relations followed.
        subject_type: the type of what they point at.
        subject_relations: the subject relations that count (None is the object itself).
        any_subject_relation: an arrow, which looks at the object whatever its subject relation.
        target: what the caller must hold there.
        expiring: whether these relationships may expire.
    """

    relations: tuple[str, ...]
    subject_type: str
    subject_relations: tuple[str | None, ...]
    any_subject_relation: bool
    target: Node
    expiring: bool


@dataclass(frozen=True, slots=True)
class Every:
    """`.all()`: the relation points at something, and the caller holds the target on all it points at.

    Attributes:
        targets: type, its subject relations and target on it, for the types on which the caller can hold it.
    """

    relation: str
    targets: tuple[tuple[str, tuple[str | None, ...], Node], ...]
    expiring: bool


@dataclass(frozen=True, slots=True)
class Call:
    """What another node of the same object says."""

    node: Node


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part; none at all is never."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Each part."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    part: Term


Term = Same | Direct | Hop | Every | Call | Any | All | Not


NEVER = Any(())

_COST_OF_A_WAY = 10
"""Of what leads to other objects, and may find many."""


def join_any(parts: list[Term]) -> Term:
    """A disjunction, flattened, with what can be probed at once put together and the cheap parts first."""
    flat: list[Term] = []
    for part in parts:
        for inner in part.parts if isinstance(part, Any) else (part,):
            _merge_into(flat, inner)
    if len(flat) == 1:
        return flat[0]
    return Any(tuple(sorted(flat, key=cost)))


def _merge_into(flat: list[Term], term: Term) -> None:
    for index, known in enumerate(flat):
        if known == term:
            return
        if isinstance(known, Direct | Hop) and isinstance(term, Direct | Hop):
            relations = tuple(dict.fromkeys((*known.relations, *term.relations)))
            together = replace(term, relations=relations)
            if replace(known, relations=relations) == together:
                flat[index] = together
                return
    flat.append(term)


def join_all(parts: list[Term]) -> Term:
    """A conjunction, flattened; never, as soon as one part can never hold."""
    flat: list[Term] = []
    for part in parts:
        flat += part.parts if isinstance(part, All) else (part,)
    flat = [part for part in dict.fromkeys(flat) if part != Not(NEVER)]
    if NEVER in flat:
        return NEVER
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def cost(term: Term, is_set: Callable[[Node], bool] | None = None) -> int:
    """How many probes an answer takes, roughly: of several parts the cheap ones are asked first.

    Args:
        term: a part of a formula.
        is_set: whether the objects of a node are at hand, so that a hop to it is one probe.
    """
    match term:
        case Same():
            return 0
        case Direct():
            return 1
        case Hop(target=target) if is_set is not None and is_set(target):
            return 1
        case Any(parts) | All(parts):
            return sum(cost(part, is_set) for part in parts)
        case Not(part):
            return cost(part, is_set)
    return _COST_OF_A_WAY


def references(term: Term) -> Iterator[Node]:
    """The nodes that a formula refers to, on the same object or through a relationship."""
    match term:
        case Hop(target=target):
            yield target
        case Every(targets=targets):
            for _, _, target in targets:
                yield target
        case Call(node):
            yield node
        case Any(parts) | All(parts):
            for part in parts:
                yield from references(part)
        case Not(part):
            yield from references(part)
