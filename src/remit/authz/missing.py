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
from remit.authz.proofs import Place, World, solve
from remit.authz.schema_tree import Relation

MOST_CANDIDATES: Final = 40
MOST_MISSING: Final = 3


class SearchEnded(Exception):
    """The time was up before everything had been tried."""


def find_missing(world: World, goal: Place, seconds: float) -> tuple[Relationship, ...]:
    """The fewest relationships to this caller that would turn the answer, the nearest to the resource first.

    Args:
        world: what was read.
        goal: the permission that is denied.
        seconds: how long to look.

    Raises:
        SearchEnded: nothing was found in that time, and not everything tried.
    """
    ends = time.monotonic() + seconds
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
        for chosen in combinations(candidates[: MOST_CANDIDATES // count], count):
            if time.monotonic() >= ends:
                raise SearchEnded
            if _would_allow(world, goal, chosen):
                return chosen
    return ()


def _would_allow(world: World, goal: Place, added: tuple[Relationship, ...]) -> bool:
    facts = {resource: list(known) for resource, known in world.facts.items()}
    for fact in added:
        facts[fact.resource].append(fact)
    return goal in solve(World(world.engine, world.subject, facts, world.distance))


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
