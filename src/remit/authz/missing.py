"""What a denial lacks: the relationships nearest to the resource that would turn it, and who could write them.

They are found by trying: each candidate is added, and everything evaluated again. In a large world that takes long, so
there is a time for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations
from typing import Final

from remit.authz.engine import Connection
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.proofs import Place, World, read_world, solve
from remit.authz.schema_tree import Relation

MOST_CANDIDATES: Final = 40
MOST_MISSING: Final = 3


class SearchEnded(Exception):
    """The time was up before everything had been tried."""


def list_candidates(world: World) -> list[Relationship]:
    """The relationships to this caller that could be written on what a check reaches, the nearest first."""
    candidates = []
    for place in sorted(world.distance, key=lambda place: (world.distance[place], str(place))):
        member = world.member(place)
        if isinstance(member, Relation) and any(
            (allowed.type, allowed.relation, allowed.wildcard, allowed.expiration)
            == (world.subject.type, world.subject.relation, False, False)
            for allowed in member.allowed
        ):
            candidates.append(Relationship(place.resource, place.name, world.subject))
    return candidates


async def read_beyond(world: World, connection: Connection, goal: Place, candidates: Sequence[Relationship]) -> World:
    """The world and what its candidates would lead to: an arrow goes on through the caller's own object.

    Raises:
        TooLargeToExplain: that is too much.
    """
    beyond = World(world.engine, world.subject, _add(world, candidates))
    await read_world(beyond, connection, goal)
    return World(world.engine, world.subject, beyond.facts | world.facts, beyond.distance)


def find_missing(
    world: World, goal: Place, candidates: Sequence[Relationship], seconds: float
) -> tuple[Relationship, ...]:
    """The fewest of some relationships that would turn the answer, the first ones before later ones.

    Args:
        world: what was read, with what the candidates lead to.
        goal: the permission that is denied.
        candidates: what can be added.
        seconds: how long to look.

    Raises:
        SearchEnded: nothing was found in that time, and not everything tried.
    """
    ends = time.monotonic() + seconds
    for count in range(1, MOST_MISSING + 1):
        for chosen in combinations(candidates[: MOST_CANDIDATES // count], count):
            if time.monotonic() >= ends:
                raise SearchEnded
            if goal in solve(World(world.engine, world.subject, _add(world, chosen), world.distance)):
                return chosen
    return ()


def _add(world: World, added: Sequence[Relationship]) -> dict[Resource, list[Relationship]]:
    facts = {resource: list(known) for resource, known in world.facts.items()}
    for fact in added:
        facts[fact.resource].append(fact)
    return facts


async def find_granters(
    engine: PostgresEngine, connection: Connection, resource: Resource, granting: Sequence[str]
) -> tuple[Subject, ...]:
    """Up to five subjects who may write relationships on a resource, by the first of these permissions that it has."""
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
