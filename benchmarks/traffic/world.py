"""A tenant full of tasks, and callers who may read a few, many, or very many of them."""

import asyncpg

from remit.agents.service import insert_agent
from remit.authz.load import load_engine
from remit.authz.model import Relationship, Resource, Subject
from remit.db.pool import Database
from remit.identity.api_keys import insert_key
from remit.identity.subjects import create_subject
from remit.identity.tenants import create_tenant
from remit.settings import Settings

READERS_OF_EACH = 4
READABLE = (10, 1_000, 100_000)


class BenchWorld:
    """What one database holds.

    Attributes:
        member: the key of a member who makes tasks.
        readers: keys of callers by how many tasks they may read.
        agents: ids of a `sync` and an `async` agent.
    """

    def __init__(self) -> None:
        self.member = ""
        self.readers: dict[int, list[str]] = {}
        self.agents: dict[str, str] = {}


async def make_world(dsn: str, agent_url: str, tasks: int) -> BenchWorld:
    """Fill a migrated database.

    Args:
        dsn: the database.
        agent_url: where both agents listen.
        tasks: how many tasks there are before anything is measured.
    """
    world = BenchWorld()
    database = await Database.open(dsn, size=1)
    try:
        async with database.transaction() as connection:
            engine = await load_engine(connection, Settings())
            tenant = await create_tenant(connection, "bench")

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
                assert agent is not None
                world.agents[kind] = agent
            # One task by the engine's own hands; its rows are the pattern of all others.
            pattern = "01900000-0000-7000-8000-000000000000"
            roles = {"tenant": Subject("tenant", tenant), "parent_agent": Subject("agent", world.agents["sync"])}
            roles |= {"owner": Subject("user", owner), "viewer": Subject("user", owner)}
            task = Resource("task", pattern)
            await engine.write(connection, touch=[Relationship(task, role, who) for role, who in roles.items()])
            await _fill(connection, pattern, tenant, world.agents["sync"], owner, tasks)
            for readable in READABLE:
                world.readers[readable] = []
                for number in range(READERS_OF_EACH if readable <= tasks else 0):
                    id, key = await make_user(f"reader-{readable}-{number}")
                    world.readers[readable].append(key)
                    await connection.execute(_READ, pattern, id, owner, readable, number)
            await connection.execute("DELETE FROM relationships WHERE resource_id = $1", pattern)
        async with database.connection() as connection:
            await connection.execute("SET statement_timeout = 0")
            await connection.execute("VACUUM (ANALYZE, FREEZE)", timeout=900)
            await connection.execute("CHECKPOINT")
    finally:
        await database.close()
    return world


async def _fill(
    connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]",
    pattern: str,
    tenant: str,
    agent: str,
    owner: str,
    tasks: int,
) -> None:
    # Ids that grow with the number as the server's own grow with time.
    await connection.execute("SET LOCAL statement_timeout = 0")
    await connection.execute(
        "CREATE TABLE bench_tasks AS SELECT n, (lpad(to_hex(1750000000000 + n), 12, '0') || '7'"
        " || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS id"
        f" FROM generate_series(1, {int(tasks)}) n",
        timeout=900,
    )
    await connection.execute(
        "INSERT INTO tasks (id, tenant_id, agent_id, status, task_metadata, creator_user_id)"
        " SELECT id, $1, $2, 'RUNNING', jsonb_build_object('n', n), $3 FROM bench_tasks ORDER BY n",
        tenant,
        agent,
        owner,
        timeout=900,
    )
    await connection.execute(
        "INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id)"
        " SELECT r.resource_type, b.id, r.relation, r.subject_type, r.subject_id FROM bench_tasks b, relationships r"
        "  JOIN authz_relations a ON a.code = r.relation AND a.name <> 'viewer' WHERE r.resource_id = $1 ORDER BY 1, 2",
        pattern,
        timeout=900,
    )


# Spread evenly over all tasks, each reader's a little apart from the next one's.
_READ = """
INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id)
SELECT r.resource_type, b.id, r.relation, r.subject_type, $2
  FROM bench_tasks b, relationships r JOIN authz_relations a ON a.code = r.relation AND a.name = 'viewer',
       (SELECT count(*) AS tasks FROM bench_tasks) c
 WHERE r.resource_id = $1 AND r.subject_id = $3 AND (b.n + $5) % (c.tasks / $4) = 0 LIMIT $4
"""
