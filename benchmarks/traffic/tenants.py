"""Tenants in several modes, and requests of a member of each."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg

from remit.agents.service import insert_agent
from remit.authz.load import load_engine
from remit.authz.model import Subject
from remit.authz.modes import TYPES, Mode
from remit.db.pool import Database
from remit.identity.api_keys import insert_key
from remit.identity.subjects import create_subject
from remit.identity.tenants import create_tenant
from remit.settings import Settings
from remit.tasks.service import insert_task
from traffic.load import Client, encode

TASKS = 200


@dataclass
class Tenant:
    """A tenant with an agent and a member who owns some tasks.

    Attributes:
        name: its name.
        id: its id.
        agent: its agent's id.
        member: the member's id.
        key: the member's key.
        tasks: ids of tasks that he owns.
        pending: a task with a change that is never delivered.
        principal: what the provider handed out for him.
    """

    name: str
    id: str
    agent: str
    member: str
    key: str
    tasks: list[str] = field(default_factory=list)
    pending: str = ""
    principal: dict[str, Any] = field(default_factory=dict)
    made: int = 0

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def create(self, _: int) -> bytes:
        """`task/create` of a sync agent, which is not called."""
        self.made += 1
        body = {"method": "task/create", "params": {"name": f"bench-{self.made}"}}
        return encode(("POST", f"/agents/{self.agent}/rpc", self.headers, body))

    def get(self, _: int) -> bytes:
        """A task of his own."""
        return encode(("GET", f"/tasks/{random.choice(self.tasks)}", self.headers, None))

    def get_pending(self, _: int) -> bytes:
        """The task whose change waits."""
        return encode(("GET", f"/tasks/{self.pending}", self.headers, None))

    def check(self, _: int) -> bytes:
        """A question of another server to the provider: may he create tasks?"""
        body = {"principal": self.principal, "resource": {"type": "task", "selector": "*"}, "operation": "create"}
        return encode(("POST", "/v1/authz/check", {}, body))

    async def authenticate(self, provider: int) -> None:
        """Have the provider hand out his principal."""
        client = Client([provider], 1)
        await client.open()
        self.principal = orjson.loads((await client.one(encode(("POST", "/v1/authn", self.headers, None)))).body)
        client.close()

    def leave_pending(self, dsn: str) -> None:
        """Leave a change that is never due, so that each question about the task finds it."""
        self.pending = self.tasks[0]
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO outbox (tenant_id, resource_type, resource_id, version, created_at)"
                " VALUES (%s, 'task', %s, 1, now() + interval '1 day')",
                (self.id, self.pending),
            )

    def fill(self, dsn: str, rows: int, *, registered: bool) -> None:
        """Insert tasks of his, with or without their relationships."""
        register = """
          INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id, subject_relation)
          SELECT t.resource_type, made.id, t.relation, t.subject_type, t.subject_id, t.subject_relation
            FROM made CROSS JOIN (SELECT * FROM relationships WHERE resource_id = %(pattern)s) t
        """
        with psycopg.connect(dsn, autocommit=True) as connection:
            for first in range(0, rows, 100_000):
                connection.execute(
                    (
                        "WITH made AS (INSERT INTO tasks (id, tenant_id, agent_id, status, creator_user_id)"
                        " SELECT uuidv7(), %(tenant)s, %(agent)s, 'RUNNING', %(member)s FROM generate_series(1, %(n)s)"
                        f" RETURNING id) {register if registered else 'SELECT count(*) FROM made'}"
                    ).encode(),
                    {
                        "tenant": self.id,
                        "agent": self.agent,
                        "member": self.member,
                        "n": min(100_000, rows - first),
                        "pattern": self.tasks[0],
                    },
                )


def make_tenants(dsn: str, modes: Mapping[str, Mode], *, outboxed: bool) -> dict[str, Tenant]:
    """Tenants by name, each in its mode, whose tasks are registered."""
    return asyncio.run(_make_tenants(dsn, modes, outboxed=outboxed))


async def _make_tenants(dsn: str, modes: Mapping[str, Mode], *, outboxed: bool) -> dict[str, Tenant]:
    database = await Database.open(dsn, size=1)
    made: dict[str, Tenant] = {}
    settings = Settings(authz_engine="spicedb" if outboxed else "embedded")
    try:
        for name, mode in modes.items():
            async with database.transaction() as connection:
                engine = await load_engine(connection, settings)
                tenant = await create_tenant(connection, name)
                member = await create_subject(connection, engine, tenant, "user", f"{name}-member", role="member")
                key = (await insert_key(connection, tenant_id=tenant, holder=Subject("user", member))).secret
                agent = await insert_agent(
                    connection, engine, tenant_id=tenant, name="echo", acp_type="sync", status="Ready"
                )
                assert agent is not None, "the tenant is new"
                made[name] = one = Tenant(name, tenant, agent, member, key)
                for number in range(TASKS):
                    row = await insert_task(
                        connection,
                        engine,
                        tenant_id=tenant,
                        agent_id=agent,
                        creator=Subject("user", member),
                        name=f"task-{number}",
                        params=None,
                    )
                    assert row is not None, "the name is new"
                    one.tasks.append(str(row["id"]))
                await connection.execute(
                    "INSERT INTO authz_modes"
                    " (tenant_id, resource_type, mode, enforced_at, registering_since, changed_by, version)"
                    " SELECT $1, t.name, $2, CASE WHEN $2 = 'enforce' THEN now() END, now(), 'bench',"
                    " (SELECT coalesce(max(version), 0) FROM authz_modes) + t.place"
                    " FROM unnest($3::text[]) WITH ORDINALITY t(name, place)",
                    tenant,
                    mode,
                    list(TYPES),
                )
    finally:
        await database.close()
    return made
