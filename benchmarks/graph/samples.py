"""Callers and tasks drawn at random, so that no question is asked of hot pages only."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from graph.data import GROUPS_PER_TENANT, Data

Pair = tuple[str, str]


@dataclass(slots=True)
class Samples:
    """Callers and tasks drawn at random, as ids."""

    tasks: list[str]
    users: list[str]
    tenants: dict[str, str]
    owned: list[Pair]
    by_agent: list[Pair]
    by_admin: list[Pair]
    nested: list[Pair]
    denied: list[Pair]
    crowd: list[str]
    deep: str
    tenant: str
    agent: str


async def draw_samples(connection: "asyncpg.Connection[asyncpg.Record]", data: Data, seed: int) -> Samples:
    """Draw what the rows ask about."""
    tenants, half = data.tenants, GROUPS_PER_TENANT // 2
    numbers = random.Random(seed).sample(range(data.tasks), min(20_000, data.tasks))

    async def pairs(user: str, where: str = "TRUE") -> list[Pair]:
        found = await connection.fetch(
            f"SELECT t.id, s.id FROM bench.tasks t JOIN subjects s ON s.external_id = {user} AND s.kind = 'user'"
            f" WHERE t.n = ANY ($1::bigint[]) AND {where} LIMIT 2000",
            numbers,
        )
        drawn = [(str(task), str(user)) for task, user in found]
        random.Random(seed).shuffle(drawn)
        return drawn

    async def ids(statement: str, *values: object) -> list[str]:
        drawn = [str(row[0]) for row in await connection.fetch(statement, *values)]
        random.Random(seed).shuffle(drawn)
        return drawn

    types = "resource_type = (SELECT code FROM authz_types WHERE name = 'task')"
    # A group of the first half has one subgroup: a member of that, who is not in the group itself.
    member = (
        f"(SELECT 'user' || min(u.n) FROM generate_series(t.tenant, {tenants * 20 - 1}, {tenants}) u(n) WHERE {{0}})"
    )
    groups = f"(ARRAY[bench.draw(u.n, 11, {GROUPS_PER_TENANT}), bench.draw(u.n, 12, {GROUPS_PER_TENANT})])"
    place = "t.viewers / " + str(tenants)
    inside = (
        f"{place} + {half} = ANY ({groups}) AND NOT {place} = ANY ({groups}) AND u.n <> t.owner AND u.n <> t.tenant"
    )
    outside = (
        f"NOT {place} = ANY ({groups}) AND NOT {place} + {half} = ANY ({groups}) AND u.n NOT IN (t.owner, t.tenant,"
        " t.viewer, t.agent)"
    )
    return Samples(
        tasks=await ids("SELECT id FROM bench.tasks WHERE n = ANY ($1::bigint[])", numbers),
        users=await ids("SELECT id FROM subjects WHERE external_id LIKE 'user%'"),
        tenants={
            str(task): str(tenant)
            for task, tenant in await connection.fetch(
                "SELECT t.id, t.tenant_id FROM tasks t JOIN bench.tasks b ON b.id = t.id WHERE b.n = ANY ($1)", numbers
            )
        },
        owned=await pairs("'user' || t.owner"),
        by_agent=await pairs("'user' || t.agent", "t.agent <> t.owner"),
        by_admin=await pairs("'user' || t.tenant", "t.tenant <> t.owner"),
        nested=await pairs(member.format(inside), f"t.n % 2 = 1 AND {place} < {half}"),
        denied=await pairs(member.format(outside)),
        crowd=await ids(
            f"SELECT resource_id FROM relationships WHERE {types} AND subject_id IN"
            " (SELECT bench.id(n, 'crowd' || n) FROM generate_series(1, 1000) n)"
        ),
        deep=str(await connection.fetchval("SELECT id FROM bench.tasks WHERE n = $1", data.tasks // 2)),
        tenant=str(await connection.fetchval("SELECT id FROM tenants WHERE name = 'tenant 1'")),
        agent=str(await connection.fetchval("SELECT id FROM agents WHERE name = 'agent-1'")),
    )


def endless(items: Sequence[Any]) -> Iterator[Any]:
    """The items over and over."""
    if not items:
        raise SystemExit("a sample is empty; load more tasks")
    return itertools.cycle(items)
