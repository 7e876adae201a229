"""Why a check is allowed or denied: the shortest path of relationships, or what is missing and who could grant it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from remit.authz.engine import Connection
from remit.authz.errors import PermissionUnknown
from remit.authz.missing import SearchEnded, find_granters, find_missing, list_candidates, read_beyond
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.proofs import Place, Proof, World, prove, read_world, solve, trim_proof
from remit.authz.schema_print import print_expression
from remit.authz.schema_tree import Exclusion, Expression, Intersection, Permission, Reference, Union

DEFAULT_GRANTING: Final = ("share", "manage")
SEARCH_SECONDS: Final = 2.0


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
        unfinished: the time for finding what is missing was up.
    """

    subject: Subject
    permission: str
    resource: Resource
    allowed: bool
    path: tuple[Relationship, ...]
    tree: Branch
    missing: tuple[Relationship, ...] = ()
    granters: tuple[Subject, ...] = ()
    unfinished: bool = False


async def explain(
    engine: PostgresEngine,
    connection: Connection,
    subject: Subject,
    permission: str,
    resource: Resource,
    *,
    granting: Sequence[str] = DEFAULT_GRANTING,
    seconds: float = SEARCH_SECONDS,
) -> Explanation:
    """Explain one check. Never from a cache; meant for people, not for the path of a request.

    Args:
        engine: the engine.
        connection: where to read.
        subject: who asks.
        permission: a permission or relation.
        resource: on what.
        granting: the permissions that let somebody write relationships on an object, the best first.
        seconds: how long to look for what is missing.

    Raises:
        PermissionUnknown: the schema has no such type or permission.
        TooLargeToExplain: the check reaches too many objects.
    """
    world = World(engine, subject)
    goal = Place(resource, permission)
    if world.member(goal) is None:
        raise PermissionUnknown(f"type {resource.type!r} has no relation or permission {permission!r}")
    await read_world(world, connection, goal)
    proofs = solve(world)
    proof = proofs.get(goal)
    tree = _describe(world, proofs, goal)
    if proof is not None:
        proof = trim_proof(world, goal, proof, proofs)

        def order(fact: Relationship) -> tuple[int, bool, str]:
            return world.distance.get(Place(fact.resource, fact.relation), 0), fact.subject != subject, str(fact)

        path = tuple(sorted(proof, key=order))
        return Explanation(subject, permission, resource, True, path, tree)
    candidates = list_candidates(world)
    beyond = await read_beyond(world, connection, goal, candidates)
    try:
        # Trying takes the processor for as long as it lasts: beside the event loop.
        missing = await asyncio.to_thread(find_missing, beyond, goal, candidates, seconds)
    except SearchEnded:
        return Explanation(subject, permission, resource, False, (), tree, unfinished=True)
    granters = await find_granters(engine, connection, missing[0].resource, granting) if missing else ()
    return Explanation(subject, permission, resource, False, (), tree, missing, granters)


def _describe(world: World, proofs: dict[Place, Proof], goal: Place) -> Branch:
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
        holds = prove(world, goal.resource, expression, proofs, proofs) is not None
        match expression:
            case Union(parts) | Intersection(parts):
                return Branch(print_expression(expression), holds, tuple(part(item, seen) for item in parts))
            case Exclusion(base, removed):
                return Branch(print_expression(expression), holds, (part(base, seen), part(removed, seen)))
        return Branch(print_expression(expression), holds)

    return named(goal, frozenset())
