"""Tenants, people, groups and agents, made through the product's own functions, and their calls over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from support.alternate import AsyncAlternating

from remit.agents.service import ACPType, insert_agent
from remit.authz.engine import Engine
from remit.authz.load import load_engine
from remit.authz.model import Relationship, Resource, Subject
from remit.db.pool import Connection, Database
from remit.identity.api_keys import insert_key
from remit.ids import new_id
from remit.settings import Settings

Kind = Literal["user", "service_account", "agent"]
Json = dict[str, Any]

WAIT_SECONDS = 20


def text(content: str, author: str = "user") -> Json:
    """A text message's content."""
    return {"type": "text", "author": author, "content": content}


@dataclass
class Party:
    """Somebody who calls: a user, a service account or an agent with its key, or nobody with `key=None`."""

    http: httpx.AsyncClient
    kind: Kind
    id: str
    name: str
    tenant_id: str
    key: str | None
    header: str = "authorization"

    @property
    def subject(self) -> Subject:
        return Subject(self.kind, self.id)

    @property
    def secret(self) -> str:
        assert self.key is not None, "nobody has no key"
        return self.key

    @property
    def headers(self) -> dict[str, str]:
        if self.key is None:
            return {}
        return {self.header: f"Bearer {self.key}" if self.header == "authorization" else self.key}

    async def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {**self.headers, **request.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **request)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.call("GET", path, params=params or None)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.call("POST", path, json=body)

    async def put(self, path: str, body: Any) -> httpx.Response:
        return await self.call("PUT", path, json=body)

    async def delete(self, path: str, **params: Any) -> httpx.Response:
        return await self.call("DELETE", path, params=params or None)

    async def rpc(self, agent: "AgentParty | str", method: str, params: Any = None, **envelope: Any) -> httpx.Response:
        """A JSON-RPC call to an agent, by id or, for a text, by name."""
        path = f"/agents/name/{agent}/rpc" if isinstance(agent, str) else f"/agents/{agent.id}/rpc"
        return await self.post(path, {"method": method, "params": params or {}, **envelope})

    async def make_task(self, agent: "AgentParty", name: str | None = None, **params: Any) -> Json:
        response = await self.rpc(agent, "task/create", {"name": name, **params})
        assert response.status_code == 200, response.text
        answer: Json = response.json()
        assert answer["error"] is None, answer
        task: Json = answer["result"]
        return task

    async def send(self, agent: "AgentParty", task: Json, said: str = "hi", **envelope: Any) -> httpx.Response:
        return await self.rpc(agent, "message/send", {"task_id": task["id"], "content": text(said)}, **envelope)

    @asynccontextmanager
    async def stream_send(self, agent: "AgentParty", task: Json, said: str = "hi") -> AsyncIterator["Lines"]:
        """`message/send` with `stream`, as lines that have been parsed; leaving the block hangs up."""
        body = {
            "id": "s",
            "method": "message/send",
            "params": {"task_id": task["id"], "content": text(said), "stream": True},
        }
        async with self.http.stream("POST", f"/agents/{agent.id}/rpc", json=body, headers=self.headers) as response:
            yield Lines(response)

    async def share(self, task: Json, subject: "Party | Group", role: str, **more: Any) -> httpx.Response:
        body = {"subject_type": subject.kind, "subject_id": subject.name, "role": role, **more}
        return await self.put(f"/tasks/{task['id']}/access", body)


@dataclass
class Lines:
    """A response of JSON lines."""

    response: httpx.Response

    async def __aiter__(self) -> AsyncIterator[Json]:
        async for line in self.response.aiter_lines():
            yield json.loads(line)


@dataclass
class AgentParty(Party):
    """An agent as a caller."""

    header: str = "x-agent-api-key"


@dataclass(frozen=True)
class Group:
    """A group of a tenant."""

    id: str
    name: str
    kind: str = "group"


@dataclass
class Seeder:
    """Makes what a test needs in a database that a server serves."""

    database: Database
    engine: Engine
    http: httpx.AsyncClient

    async def make_tenant(self, name: str | None = None) -> str:
        tenant_id = new_id()
        async with self.database.transaction() as connection:
            await connection.execute(
                "INSERT INTO tenants (id, name) VALUES ($1, $2)", tenant_id, name or f"tenant-{tenant_id}"
            )
        return tenant_id

    async def make_subject(self, tenant_id: str, name: str, role: str | None = "member", kind: Kind = "user") -> Party:
        subject_id = new_id()
        async with self.database.transaction() as connection:
            await connection.execute(
                "INSERT INTO subjects (id, tenant_id, kind, external_id) VALUES ($1, $2, $3, $4)",
                subject_id,
                tenant_id,
                kind,
                name,
            )
            subject = Subject(kind, subject_id)
            if role is not None:
                await self.grant(connection, Resource("tenant", tenant_id), role, subject)
            key = await insert_key(connection, tenant_id=tenant_id, holder=subject)
        return Party(self.http, kind, subject_id, name, tenant_id, key.secret)

    async def make_group(self, tenant_id: str, name: str, members: Sequence[Party]) -> Group:
        group = Group(new_id(), name)
        async with self.database.transaction() as connection:
            await connection.execute(
                "INSERT INTO groups (id, tenant_id, name) VALUES ($1, $2, $3)", group.id, tenant_id, name
            )
            for member in members:
                await self.grant(connection, Resource("group", group.id), "member", member.subject)
        return group

    async def make_agent(
        self,
        tenant_id: str,
        url: str | None,
        acp_type: ACPType = "sync",
        *,
        name: str | None = None,
        owner: Party | None = None,
        private: bool = False,
    ) -> AgentParty:
        name = name or f"agent-{new_id()}"
        async with self.database.transaction() as connection:
            agent_id = await insert_agent(
                connection,
                self.engine,
                tenant_id=tenant_id,
                name=name,
                owner=owner.subject if owner else None,
                private=private,
                status="Ready" if url else "Unknown",
                status_reason=None,
                acp_type=acp_type,
                acp_url=url,
            )
            assert agent_id is not None, "the tenant has an agent of that name"
            key = await insert_key(connection, tenant_id=tenant_id, holder=Subject("agent", agent_id))
        return AgentParty(self.http, "agent", agent_id, name, tenant_id, key.secret)

    async def grant(self, connection: Connection, resource: Resource, relation: str, subject: Subject) -> None:
        await self.engine.write(connection, touch=[Relationship(resource, relation, subject)])

    async def relationships_of(self, type: str, id: str) -> list[Relationship]:
        async with self.database.connection() as connection:
            return await self.engine.read(connection, Resource(type, id))

    async def fetch(self, statement: str, *values: Any) -> list[Json]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(statement, *values)]

    async def wait_for_rows(self, count: int, statement: str, *values: Any) -> list[Json]:
        """The rows of a query once there are so many: for what is written just after an answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                rows = await self.fetch(statement, *values)
                if len(rows) >= count:
                    return rows
                await asyncio.sleep(0.02)

    async def execute(self, statement: str, *values: Any) -> None:
        async with self.database.connection() as connection:
            await connection.execute(statement, *values)


@asynccontextmanager
async def open_seeder(
    dsn: str, url: str, settings: Settings | None = None, *, others: Sequence[str] = ()
) -> AsyncIterator[Seeder]:
    """A seeder with a pool and a client of its own, for a server at `url` over the database at `dsn`.

    With `others`, more servers of that database, each request goes to the next one in turn.
    """
    database = await Database.open(dsn, size=4)
    try:
        async with database.connection() as connection:
            engine = await load_engine(connection, settings or Settings())
        async with httpx.AsyncClient(
            base_url=url, trust_env=False, timeout=30, transport=AsyncAlternating([url, *others])
        ) as http:
            yield Seeder(database, engine, http)
    finally:
        await database.close()


@dataclass
class World:
    """A tenant with people of every role, and a stranger who is admin of another one."""

    seed: Seeder
    tenant_id: str
    alice: Party
    bob: Party
    root: Party
    viewer: Party
    bot: Party
    mallory: Party
    nobody: Party
    agents: list[AgentParty] = field(default_factory=list)

    async def make_agent(self, url: str | None, acp_type: ACPType = "sync", **more: Any) -> AgentParty:
        return await self.seed.make_agent(self.tenant_id, url, acp_type, **more)


async def make_world(seed: Seeder) -> World:
    """A world of its own, in a database that others may share."""
    tenant, other = await seed.make_tenant(), await seed.make_tenant()
    return World(
        seed,
        tenant,
        alice=await seed.make_subject(tenant, "alice"),
        bob=await seed.make_subject(tenant, "bob"),
        root=await seed.make_subject(tenant, "root", "admin"),
        viewer=await seed.make_subject(tenant, "viewer", "viewer"),
        bot=await seed.make_subject(tenant, "bot", kind="service_account"),
        mallory=await seed.make_subject(other, "mallory", "admin"),
        nobody=Party(seed.http, "user", "", "nobody", "", None),
    )
