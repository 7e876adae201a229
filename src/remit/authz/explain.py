"""Why a check is allowed or denied: the shortest path of relationships, or what is missing and who could grant it.

The part of the graph that the check can reach is read, fresh, and evaluated in memory; only relationships that can
matter to this caller are read, so that a group of a million members costs one row. A denial is explained by trying:
the relationships nearest to the resource that would turn the answer are found by adding each and evaluating again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, NamedTuple

from remit.authz.engine import Connection
from remit.authz.errors import AuthzError, PermissionUnknown
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.schema_print import print_expression
from remit.authz.schema_tree import (
    Arrow,
    Exclusion,
    Expression,
    Intersection,
    Permission,
    Reference,
    Relation,
    Self,
    Union,
)

MAX_OBJECTS: Final = 2_000
MAX_TRIES: Final = 40
MOST_MISSING: Final = 3
DEFAULT_GRANTING: Final = ("share", "manage")


class TooLargeToExplain(AuthzError):
    """The check reaches more objects than an explanation looks at."""


class Place(NamedTuple):
    """A relation or permission of one object."""

    resource: Resource
    name: str

    def __str__(self) -> str:
        return f"{self.resource}#{self.name}"


Proof = frozenset[Relationship]


@dataclass(frozen=True, slots=True)
class Branch:
    """One part of a permission's expression, and whether it holds."""

    text: str
    holds: bool
    parts: tuple[Branch, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a subject may or may not.

    Attributes:
        allowed: the answer, the same as that of a check.
        path: for an allow, the fewest relationships that make it so, from the resource to the caller.
        tree: the permission's parts, each with its own answer.
        missing: for a denial, the nearest relationships that would together turn it, if there are any.
        granters: subjects who may write the first missing one.
    """

    subject: Subject
    permission: str
    resource: Resource
    allowed: bool
    path: tuple[Relationship, ...]
    tree: Branch
    missing: tuple[Relationship, ...] = ()
    granters: tuple[Subject, ...] = ()


@dataclass(slots=True)
class _World:
    """The relationships that matter, and where each place is, counted in hops from the resource."""

    engine: PostgresEngine
    subject: Subject
    facts: dict[Resource, list[Relationship]] = field(default_factory=dict)
    distance: dict[Place, int] = field(default_factory=dict)
    left_out: Proof = frozenset()

    def member(self, place: Place) -> Relation | Permission | None:
        definition = self.engine.schema.get(place.resource.type)
        return definition.get(place.name) if definition else None

    def facts_of(self, resource: Resource, relation: str) -> list[Relationship]:
        return [fact for fact in self.facts.get(resource, []) if fact.relation == relation]


async def explain(
    engine: PostgresEngine,
    connection: Connection,
    subject: Subject,
    permission: str,
    resource: Resource,
    *,
    granting: Sequence[str] = DEFAULT_GRANTING,
) -> Explanation:
    """Explain one check. Never from a cache; meant for people, not for the path of a request.

    Args:
        engine: the engine.
        connection: where to read.
        subject: who asks.
        permission: a permission or relation.
        resource: on what.
        granting: the permissions that let somebody write relationships on an object, the best first.

    Raises:
        PermissionUnknown: the schema has no such type or permission.
        TooLargeToExplain: the check reaches too many objects.
    """
    world = _World(engine, subject)
    goal = Place(resource, permission)
    if world.member(goal) is None:
        raise PermissionUnknown(f"type {resource.type!r} has no relation or permission {permission!r}")
    await _read_world(world, connection, goal)
    proofs = _solve(world)
    proof = proofs.get(goal)
    tree = _describe(world, proofs, goal)
    if proof is not None:
        proof = _trim(world, goal, proof, proofs)
        path = tuple(
            sorted(proof, key=lambda fact: (world.distance.get(Place(fact.resource, fact.relation), 0), str(fact)))
        )
        return Explanation(subject, permission, resource, True, path, tree)
    missing = _find_missing(world, goal)
    granters = await _find_granters(engine, connection, missing[0].resource, granting) if missing else ()
    return Explanation(subject, permission, resource, False, (), tree, missing, granters)


async def _read_world(world: _World, connection: Connection, goal: Place) -> None:
    waiting = [(goal, 0)]
    while waiting:
        place, distance = waiting.pop(0)
        member = world.member(place)
        if member is None or place in world.distance:
            continue
        world.distance[place] = distance
        if place.resource not in world.facts:
            if len(world.facts) >= MAX_OBJECTS:
                raise TooLargeToExplain(
                    f"more than {MAX_OBJECTS} objects are in reach; ask about a narrower permission"
                )
            world.facts[place.resource] = await world.engine.read_relevant(connection, place.resource, world.subject)
        if isinstance(member, Relation):
            waiting += [
                (Place(Resource(fact.subject.type, fact.subject.id), fact.subject.relation), distance + 1)
                for fact in world.facts_of(place.resource, place.name)
                if fact.subject.relation is not None
            ]
            continue
        for part in _leaves(member.expression):
            if isinstance(part, Reference):
                waiting.append((Place(place.resource, part.name), distance))
            elif isinstance(part, Arrow):
                waiting += [
                    (Place(Resource(fact.subject.type, fact.subject.id), part.name), distance + 1)
                    for fact in world.facts_of(place.resource, part.relation)
                ]


def _leaves(expression: Expression) -> list[Expression]:
    match expression:
        case Union(parts) | Intersection(parts):
            return [leaf for part in parts for leaf in _leaves(part)]
        case Exclusion(base, removed):
            return _leaves(base) + _leaves(removed)
    return [expression]


def _solve(world: _World) -> dict[Place, Proof]:
    """The smallest proof of every place that holds.

    What an exclusion removes is taken from the derivation before (the well-founded semantics), as in `compile`.
    """
    certain: dict[Place, Proof] = {}
    while True:
        possible = _derive(world, certain)
        following = _derive(world, possible)
        if following.keys() == certain.keys():
            return following
        certain = following


def _trim(world: _World, goal: Place, proof: Proof, proofs: dict[Place, Proof]) -> Proof:
    """Leave out what the rest of the proof does without: two parts may have been proved apart that share a path."""
    every_fact = frozenset(fact for facts in world.facts.values() for fact in facts)
    for fact in sorted(proof, key=str):
        smaller = proof - {fact}
        rest = _World(world.engine, world.subject, world.facts, world.distance, every_fact - smaller)
        if goal in _derive(rest, proofs):
            proof = smaller
    return proof


def _derive(world: _World, other: dict[Place, Proof]) -> dict[Place, Proof]:
    held: dict[Place, Proof] = {}
    changed = True
    while changed:
        changed = False
        for place in world.distance:
            proof = _prove_place(world, place, held, other)
            if proof is not None and (place not in held or len(proof) < len(held[place])):
                held[place] = proof
                changed = True
    return held


def _prove_place(world: _World, place: Place, held: dict[Place, Proof], other: dict[Place, Proof]) -> Proof | None:
    subject = world.subject
    if (subject.type, subject.id, subject.relation) == (place.resource.type, place.resource.id, place.name):
        return frozenset()
    member = world.member(place)
    if isinstance(member, Permission):
        return _prove(world, place.resource, member.expression, held, other)
    found: list[Proof] = []
    for fact in world.facts_of(place.resource, place.name):
        target = fact.subject
        if fact in world.left_out:
            continue
        if target == subject or (target.type == subject.type and target.id == "*"):
            found.append(frozenset((fact,)))
        elif target.relation is not None:
            proof = held.get(Place(Resource(target.type, target.id), target.relation))
            if proof is not None:
                found.append(proof | {fact})
    return min(found, key=len, default=None)


def _prove(
    world: _World, resource: Resource, expression: Expression, held: dict[Place, Proof], other: dict[Place, Proof]
) -> Proof | None:
    match expression:
        case Self() if world.subject == Subject(resource.type, resource.id):
            return frozenset()
        case Reference(name):
            return held.get(Place(resource, name))
        case Arrow(relation, name, every):
            return _prove_arrow(world, world.facts_of(resource, relation), name, every, held)
        case Union(parts):
            proofs = [_prove(world, resource, part, held, other) for part in parts]
            return min((proof for proof in proofs if proof is not None), key=len, default=None)
        case Intersection(parts):
            together: Proof = frozenset()
            for part in parts:
                proof = _prove(world, resource, part, held, other)
                if proof is None:
                    return None
                together |= proof
            return together
        case Exclusion(base, removed):
            gone = _prove(world, resource, removed, other, held)
            return _prove(world, resource, base, held, other) if gone is None else None
    return None


def _prove_arrow(
    world: _World, facts: list[Relationship], name: str, every: bool, held: dict[Place, Proof]
) -> Proof | None:
    proofs: list[Proof] = []
    for fact in facts:
        proof = None if fact in world.left_out else held.get(Place(Resource(fact.subject.type, fact.subject.id), name))
        if proof is not None:
            proofs.append(proof | {fact})
        elif every:
            return None
    if every:
        return frozenset().union(*proofs) if proofs else None
    return min(proofs, key=len, default=None)


def _describe(world: _World, proofs: dict[Place, Proof], goal: Place) -> Branch:
    """The goal's expression, its named parts written out on the same object, arrows as they stand."""

    def named(place: Place, seen: frozenset[str]) -> Branch:
        member = world.member(place)
        inner: tuple[Branch, ...] = ()
        if isinstance(member, Permission) and place.name not in seen:
            inner = (part(member.expression, seen | {place.name}),)
            # A permission whose whole expression is one list of parts shows the parts themselves.
            inner = inner[0].parts or inner
        return Branch(place.name, place in proofs, inner)

    def part(expression: Expression, seen: frozenset[str]) -> Branch:
        if isinstance(expression, Reference):
            return named(Place(goal.resource, expression.name), seen)
        holds = _prove(world, goal.resource, expression, proofs, proofs) is not None
        match expression:
            case Union(parts) | Intersection(parts):
                return Branch(print_expression(expression), holds, tuple(part(item, seen) for item in parts))
            case Exclusion(base, removed):
                return Branch(print_expression(expression), holds, (part(base, seen), part(removed, seen)))
        return Branch(print_expression(expression), holds)

    return named(goal, frozenset())


def _find_missing(world: _World, goal: Place) -> tuple[Relationship, ...]:
    """The fewest relationships to this caller that would turn the answer, the nearest to the resource first."""
    candidates = []
    for place in sorted(world.distance, key=lambda place: (world.distance[place], str(place))):
        member = world.member(place)
        if isinstance(member, Relation) and any(
            (allowed.type, allowed.relation, allowed.wildcard, allowed.expiration)
            == (world.subject.type, world.subject.relation, False, False)
            for allowed in member.allowed
        ):
            candidates.append(Relationship(place.resource, place.name, world.subject))
    for count in range(1, MOST_MISSING + 1):
        for chosen in combinations(candidates[: MAX_TRIES // count], count):
            if _would_allow(world, goal, chosen):
                return chosen
    return ()


def _would_allow(world: _World, goal: Place, added: tuple[Relationship, ...]) -> bool:
    facts = {resource: list(known) for resource, known in world.facts.items()}
    for fact in added:
        facts[fact.resource].append(fact)
    return goal in _solve(_World(world.engine, world.subject, facts, world.distance))


async def _find_granters(
    engine: PostgresEngine, connection: Connection, resource: Resource, granting: Sequence[str]
) -> tuple[Subject, ...]:
    definition = engine.schema.get(resource.type)
    for permission in granting:
        if definition is not None and definition.get(permission) is not None:
            found: list[Subject] = []
            for kind in engine.schema.definitions:
                if not kind.members:
                    subjects = await engine.lookup_subjects(
                        connection, resource, permission, kind.name, after=None, limit=5
                    )
                    found += [Subject(kind.name, identifier) for identifier in subjects]
            return tuple(found[:5])
    return ()
