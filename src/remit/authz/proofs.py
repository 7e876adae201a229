"""Proofs: the fewest relationships that make a subject hold something, found over what it can reach.

The part of the graph that a check can reach is read, fresh, and evaluated in memory; only relationships that can
matter to this caller are read, so that a group of a million members costs one row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from remit.authz.engine import Connection
from remit.authz.errors import AuthzError
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
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
    walk_expression,
)

MAX_OBJECTS: Final = 2_000


class TooLargeToExplain(AuthzError):
    """The check reaches more objects than an explanation looks at."""


class Place(NamedTuple):
    """A relation or permission of one object."""

    resource: Resource
    name: str

    def __str__(self) -> str:
        return f"{self.resource}#{self.name}"


Proof = frozenset[Relationship]


@dataclass(slots=True)
class World:
    """The relationships that matter, and where each place is, counted in hops from the resource."""

    engine: PostgresEngine
    subject: Subject
    facts: dict[Resource, list[Relationship]] = field(default_factory=dict)
    distance: dict[Place, int] = field(default_factory=dict)
    left_out: Proof = frozenset()

    def member(self, place: Place) -> Relation | Permission | None:
        """What a place is in the schema."""
        definition = self.engine.schema.get(place.resource.type)
        return definition.get(place.name) if definition else None

    def facts_of(self, resource: Resource, relation: str) -> list[Relationship]:
        """The relationships of an object in a relation."""
        return [fact for fact in self.facts.get(resource, []) if fact.relation == relation]


async def read_world(world: World, connection: Connection, goal: Place) -> None:
    """Read what the check of `goal` can reach.

    Raises:
        TooLargeToExplain: that is too much.
    """
    following = [(goal, 0)]
    while following:
        wave, following = following, []
        await _read_facts(world, connection, [place for place, _ in wave])
        for place, distance in wave:
            member = world.member(place)
            if member is not None and place not in world.distance:
                world.distance[place] = distance
                following += _follow(world, place, member, distance)


async def _read_facts(world: World, connection: Connection, places: list[Place]) -> None:
    known = [place.resource for place in places if world.member(place) is not None]
    unread = [resource for resource in dict.fromkeys(known) if resource not in world.facts]
    if len(world.facts) + len(unread) > MAX_OBJECTS:
        raise TooLargeToExplain(f"more than {MAX_OBJECTS} objects are in reach; ask about a narrower permission")
    if unread:
        world.facts |= await world.engine.read_relevant(connection, unread, world.subject)


def _follow(world: World, place: Place, member: Relation | Permission, distance: int) -> list[tuple[Place, int]]:
    """The places that decide about one, with their distances."""
    if isinstance(member, Relation):
        return [
            (Place(Resource(fact.subject.type, fact.subject.id), fact.subject.relation), distance + 1)
            for fact in world.facts_of(place.resource, place.name)
            if fact.subject.relation is not None
        ]
    found: list[tuple[Place, int]] = []
    for part in walk_expression(member.expression):
        if isinstance(part, Reference):
            found.append((Place(place.resource, part.name), distance))
        elif isinstance(part, Arrow):
            found += [
                (Place(Resource(fact.subject.type, fact.subject.id), part.name), distance + 1)
                for fact in world.facts_of(place.resource, part.relation)
            ]
    return found


def solve(world: World) -> dict[Place, Proof]:
    """The smallest proof of every place that holds.

    What an exclusion removes is taken from the derivation before (the well-founded semantics), as in `compile`.
    """
    certain: dict[Place, Proof] = {}
    while True:
        possible = derive(world, certain)
        following = derive(world, possible)
        if following.keys() == certain.keys():
            return following
        certain = following


def trim_proof(world: World, goal: Place, proof: Proof, proofs: dict[Place, Proof]) -> Proof:
    """Leave out what the rest of the proof does without: two parts may have been proved apart that share a path."""
    every_fact = frozenset(fact for facts in world.facts.values() for fact in facts)
    for fact in sorted(proof, key=str):
        smaller = proof - {fact}
        rest = World(world.engine, world.subject, world.facts, world.distance, every_fact - smaller)
        if goal in derive(rest, proofs):
            proof = smaller
    return proof


def derive(world: World, other: dict[Place, Proof]) -> dict[Place, Proof]:
    """The smallest proof of every place, where `other` says what holds on the far side of an exclusion."""
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


def _prove_place(world: World, place: Place, held: dict[Place, Proof], other: dict[Place, Proof]) -> Proof | None:
    subject = world.subject
    if (subject.type, subject.id, subject.relation) == (place.resource.type, place.resource.id, place.name):
        return frozenset()
    member = world.member(place)
    if isinstance(member, Permission):
        return prove(world, place.resource, member.expression, held, other)
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


def prove(
    world: World, resource: Resource, expression: Expression, held: dict[Place, Proof], other: dict[Place, Proof]
) -> Proof | None:
    """The smallest proof of an expression on a resource, from those of the places it names; None where it fails."""
    match expression:
        case Self() if world.subject == Subject(resource.type, resource.id):
            return frozenset()
        case Reference(name):
            return held.get(Place(resource, name))
        case Arrow(relation, name, every):
            return _prove_arrow(world, world.facts_of(resource, relation), name, every, held)
        case Union(parts):
            proofs = [prove(world, resource, part, held, other) for part in parts]
            return min((proof for proof in proofs if proof is not None), key=len, default=None)
        case Intersection(parts):
            together: Proof = frozenset()
            for part in parts:
                proof = prove(world, resource, part, held, other)
                if proof is None:
                    return None
                together |= proof
            return together
        case Exclusion(base, removed):
            gone = prove(world, resource, removed, other, held)
            return prove(world, resource, base, held, other) if gone is None else None
    return None


def _prove_arrow(
    world: World, facts: list[Relationship], name: str, every: bool, held: dict[Place, Proof]
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
