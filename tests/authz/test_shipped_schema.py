"""The shipped schema, asked through the engine the way routes ask it."""

from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise

import asyncpg
import pytest
from uuid_utils import uuid7

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.db.params import Params

SCHEMA = files("remit.authz").joinpath("schema.zed").read_text()


def new(kind: str) -> Resource:
    return Resource(kind, str(uuid7()))


def subject(resource: Resource, relation: str | None = None) -> Subject:
    return Subject(resource.type, resource.id, relation)


@dataclass
class World:
    """A tenant with an admin, a member, an outsider, an agent of the member and a task of the member."""

    connection: asyncpg.Connection
    engine: PostgresEngine
    tenant: Resource
    admin: Resource
    member: Resource
    outsider: Resource
    agent: Resource
    task: Resource

    async def may(self, who: Resource, permission: str, what: Resource) -> bool:
        return await self.engine.check(self.connection, subject(who), permission, what)

    async def grant(self, resource: Resource, relation: str, who: Resource, set_of: str | None = None) -> None:
        relationship = Relationship(resource, relation, subject(who, set_of))
        await self.engine.write(self.connection, touch=[relationship])

    async def make_task(self, agent: Resource, owner: Resource | None) -> Resource:
        task = new("task")
        await self.connection.execute(
            "INSERT INTO tasks (id, tenant_id, agent_id, status) VALUES ($1, $2, $3, 'RUNNING')",
            task.id, self.tenant.id, agent.id,
        )  # fmt: skip
        await self.grant(task, "tenant", self.tenant)
        await self.grant(task, "parent_agent", agent)
        if owner is not None:
            await self.grant(task, "owner", owner)
        return task

    async def visible(
        self, who: Resource, limit: int = 50, before: str | None = None, where: str = "TRUE"
    ) -> list[str]:
        page = await self.engine.list_rows(
            self.connection, subject(who), "read", "task",
            table="tasks", columns="t.id::text", where=where, params=Params(), before=before, limit=limit,
        )  # fmt: skip
        return [row[0] for row in page.rows]


@pytest.fixture
async def world(connection: asyncpg.Connection) -> World:
    engine = await PostgresEngine.load(connection, SCHEMA, "remit")
    tenant, agent = new("tenant"), new("agent")
    admin, member, outsider = new("user"), new("user"), new("user")
    await connection.execute("INSERT INTO tenants (id, name) VALUES ($1, $1::uuid::text)", tenant.id)
    await connection.execute(
        "INSERT INTO agents (id, tenant_id, name, status, acp_type) VALUES ($1, $2, 'agent', 'Ready', 'async')",
        agent.id, tenant.id,
    )  # fmt: skip
    world = World(connection, engine, tenant, admin, member, outsider, agent, agent)
    await world.grant(tenant, "admin", admin)
    await world.grant(tenant, "member", member)
    await world.grant(tenant, "agent_member", agent)
    await world.grant(agent, "tenant", tenant)
    await world.grant(agent, "owner", member)
    world.task = await world.make_task(agent, member)
    return world


async def test_owner_admin_and_agent_hold_the_task(world: World) -> None:
    for permission in ("read", "update", "cancel", "delete"):
        assert await world.may(world.member, permission, world.task)
        assert await world.may(world.admin, permission, world.task)
        assert await world.may(world.agent, permission, world.task)
        assert not await world.may(world.outsider, permission, world.task)
    assert not await world.may(world.agent, "share", world.task)


async def test_an_agent_touches_the_tasks_of_its_own_agent_and_nothing_else(world: World) -> None:
    other = new("agent")
    await world.grant(other, "tenant", world.tenant)
    await world.grant(world.tenant, "agent_member", other)
    assert await world.may(world.agent, "execute", world.agent)
    assert await world.may(world.agent, "create_task", world.tenant)
    assert not await world.may(world.agent, "create_agent", world.tenant)
    assert not await world.may(world.agent, "update", world.agent)
    assert not await world.may(other, "read", world.task)
    assert not await world.may(other, "execute", world.agent)


async def test_a_leaked_relationship_grants_nothing_in_another_tenant(world: World) -> None:
    await world.grant(world.task, "viewer", world.outsider)
    assert not await world.may(world.outsider, "read", world.task)
    assert await world.visible(world.outsider) == []
    await world.grant(world.tenant, "viewer", world.outsider)
    assert await world.may(world.outsider, "read", world.task)
    assert not await world.may(world.outsider, "cancel", world.task)
    assert await world.visible(world.outsider) == [world.task.id]


async def test_nested_groups_reach_tasks_and_a_cycle_of_groups_ends(world: World) -> None:
    groups = [new("group") for _ in range(4)]
    for outer, inner in pairwise(groups):
        await world.grant(outer, "member", inner, "member")
    await world.grant(groups[-1], "member", groups[0], "member")
    await world.grant(groups[-1], "member", world.outsider)
    await world.grant(world.tenant, "viewer", groups[0], "member")
    await world.grant(world.task, "editor", groups[0], "member")
    assert await world.may(world.outsider, "update", world.task)
    assert not await world.may(world.outsider, "delete", world.task)
    assert await world.visible(world.outsider) == [world.task.id]
    assert not await world.may(new("user"), "update", world.task)


async def test_an_agent_shared_with_the_tenants_members(world: World) -> None:
    colleague = new("service_account")
    await world.grant(world.tenant, "member", colleague)
    assert not await world.may(colleague, "execute", world.agent)
    await world.grant(world.agent, "viewer", world.tenant, "member")
    assert await world.may(colleague, "execute", world.agent)
    assert not await world.may(colleague, "update", world.agent)


async def test_an_api_key_asks_its_own_role_and_the_agent(world: World) -> None:
    key = new("api_key")
    await world.grant(key, "tenant", world.tenant)
    await world.grant(key, "parent_agent", world.agent)
    assert not await world.may(world.member, "read", key)
    await world.grant(key, "owner", world.member)
    assert await world.may(world.member, "delete", key)
    assert await world.may(world.admin, "delete", key)
    await world.grant(world.tenant, "member", world.outsider)
    await world.grant(key, "owner", world.outsider)
    assert not await world.may(world.outsider, "read", key)


async def test_pages_are_full_newest_first_and_filtered_by_the_noun(world: World) -> None:
    tasks = [world.task] + [await world.make_task(world.agent, owner) for owner in [world.member, None] * 10]
    newest_first = [task.id for task in reversed(tasks)]
    for who in (world.member, world.admin, world.agent):
        pages: list[str] = []
        while page := await world.visible(who, 4, pages[-1] if pages else None):
            pages += page
        assert pages == newest_first
    await world.connection.execute("UPDATE tasks SET status = 'FAILED' WHERE id = ANY ($1)", newest_first[:10])
    assert await world.visible(world.member, 5, where="t.status = 'RUNNING'") == newest_first[10:15]
    await world.engine.remove_all(world.connection, Resource("agent", world.agent.id))
    assert await world.visible(world.agent) == []


async def test_insert_beside_the_row_in_one_statement(world: World) -> None:
    task = new("task")
    relationships = [
        Relationship(task, "tenant", subject(world.tenant)),
        Relationship(task, "owner", subject(world.member)),
    ]
    shifted = Params()
    shifted.add(False, "boolean")
    insert = world.engine.insert_sql(shifted, relationships, when="EXISTS (SELECT 1 FROM made)")
    for allowed in (False, True):
        sql = f"WITH made AS (SELECT 1 WHERE $1::boolean), r AS ({insert}) SELECT 1"
        await world.connection.execute(sql, allowed, *shifted.values[1:])
        assert await world.may(world.member, "delete", task) is allowed
