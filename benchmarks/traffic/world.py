"""A tenant full of tasks, and callers who may read a few, many, or very many of them."""

from dataclasses import dataclass, field

from remit.agents.service import insert_agent
from remit.authz.load import load_engine
from remit.authz.model import Subject
from remit.authz.postgres import PostgresEngine
from remit.db.pool import Connection, Database
from remit.identity.api_keys import insert_key
from remit.identity.subjects import create_subject
from remit.identity.tenants import create_tenant
from remit.settings import Settings
from traffic.fill import copy_task, share, warm_up
from traffic.truth import check_sample

READERS = {10: 32, 1_000: 32, 100_000: 8}
"""How many callers there are who may read so many tasks."""


@dataclass
class BenchWorld:
    """What one database holds.

    Attributes:
        tasks: how many there were before anything was measured.
        member: the key of a member who makes tasks.
        readers: keys of callers by how many tasks they may read.
        agents: ids of a `sync` and an `async` agent.
        checked: of how many tasks rows and relationships were compared.
    """

    tasks: int
    member: str = ""
    readers: dict[int, list[str]] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    checked: int = 0


async def make_world(dsn: str, agent_url: str, tasks: int) -> BenchWorld:
    """Fill a migrated database.

    Args:
        dsn: the database.
        agent_url: where both agents listen.
        tasks: how many tasks there are before anything is measured.

    Raises:
        RuntimeError: the reconciler finds that rows and relationships of a sample disagree.
    """
    world = BenchWorld(tasks)
    database = await Database.open(dsn, size=1)
    try:
        async with database.transaction() as connection:
            await connection.execute("SET LOCAL statement_timeout = 0")
            engine = await load_engine(connection, Settings())
            assert isinstance(engine, PostgresEngine)
            tenant = await create_tenant(connection, "bench")
            await _fill(connection, engine, tenant, agent_url, world)
        await warm_up(dsn)
        async with database.connection() as connection:
            world.checked = await check_sample(connection, engine, tenant, tasks, 10)
    finally:
        await database.close()
    return world


async def _fill(connection: Connection, engine: PostgresEngine, tenant: str, agent_url: str, world: BenchWorld) -> None:
    async def make_user(name: str) -> tuple[str, str]:
        id = await create_subject(connection, engine, tenant, "user", name, role="member")
        return id, (await insert_key(connection, tenant_id=tenant, holder=Subject("user", id))).secret

    owner, _ = await make_user("owner")
    _, world.member = await make_user("member")
    for kind in ("sync", "async"):
        agent = await insert_agent(
            connection,
            engine,
            tenant_id=tenant,
            name=kind,
            acp_type="sync" if kind == "sync" else "async",
            acp_url=agent_url,
            status="Ready",
        )
        assert agent is not None, "the tenant is new"
        world.agents[kind] = agent
    pattern = await copy_task(connection, engine, tenant, world.agents["sync"], Subject("user", owner), world.tasks)
    for readable, count in READERS.items():
        if readable > world.tasks:
            continue
        readers = [await make_user(f"reader-{readable}-{number}") for number in range(count)]
        world.readers[readable] = [key for _, key in readers]
        await share(connection, engine, pattern, [id for id, _ in readers], readable, world.tasks)
