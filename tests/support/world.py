"""People of two tenants and their keys, for tests of whole processes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from remit.agents.service import insert_agent
from remit.authz.load import load_engine
from remit.authz.model import Subject
from remit.db.pool import Database
from remit.identity.api_keys import insert_key
from remit.identity.subjects import TenantRole, create_subject
from remit.identity.tenants import create_tenant
from remit.settings import Settings


@dataclass(frozen=True)
class World:
    """Keys of alice and bob (members of acme), of mallory (admin of globex), and of acme's agents by name."""

    alice_key: str
    bob_key: str
    mallory_key: str
    agent_keys: dict[str, str]


async def make_world(dsn: str, agents: Sequence[str] = ("echo",), settings: Settings | None = None) -> World:
    """Make them in a migrated database. The agents are of type sync until their processes register."""
    database = await Database.open(dsn, size=1)
    keys: dict[str, str] = {}
    agent_keys: dict[str, str] = {}
    try:
        async with database.transaction() as connection:
            engine = await load_engine(connection, settings or Settings())
            for tenant, people in (("acme", ("alice", "bob")), ("globex", ("mallory",))):
                tenant_id = await create_tenant(connection, tenant)
                for name in people:
                    role: TenantRole = "admin" if name == "mallory" else "member"
                    id = await create_subject(connection, engine, tenant_id, "user", name, role=role)
                    keys[name] = (await insert_key(connection, tenant_id=tenant_id, holder=Subject("user", id))).secret
                for name in agents if tenant == "acme" else ():
                    agent_id = await insert_agent(
                        connection, engine, tenant_id=tenant_id, name=name, acp_type="sync", status="Ready"
                    )
                    assert agent_id is not None, "the names differ"
                    holder = Subject("agent", agent_id)
                    agent_keys[name] = (await insert_key(connection, tenant_id=tenant_id, holder=holder)).secret
    finally:
        await database.close()
    return World(keys["alice"], keys["bob"], keys["mallory"], agent_keys)


def make_world_blocking(dsn: str, agents: Sequence[str], settings: Settings | None = None) -> World:
    """`make_world` for fixtures without an event loop."""
    return asyncio.run(make_world(dsn, agents, settings))
