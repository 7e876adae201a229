"""A platform of many tenants, written by SQL: rows, relationships, and callers of every kind."""

import json
import uuid
from dataclasses import asdict, dataclass, field

import asyncpg

from remit.authz.load import load_engine
from remit.authz.postgres import PostgresEngine
from remit.db.pool import Database
from remit.settings import Settings

USERS_PER_TENANT = 20
AGENTS_PER_TENANT = 10
GROUPS_PER_TENANT = 10
GROUPS_OF_THE_CROWD = 1000

# Ids grow with time as the server's own do: milliseconds first, then what a seed decides.
_ID = """
CREATE OR REPLACE FUNCTION bench.id(at bigint, seed text) RETURNS uuid IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
  SELECT (lpad(to_hex(1750000000000 + at), 12, '0') || '7' || substr(md5(seed), 1, 3)
          || '8' || substr(md5(seed), 4, 15))::uuid $$;
CREATE OR REPLACE FUNCTION bench.draw(n bigint, salt int, below int) RETURNS int IMMUTABLE PARALLEL SAFE LANGUAGE sql
AS $$ SELECT ((hashint8extended(n, salt) & 9223372036854775807) % below)::int $$;
"""


@dataclass(slots=True)
class Data:
    """What was loaded.

    Attributes:
        tasks: how many.
        tenants: how many.
        relationships: how many.
        callers: ids of users by what they may read: none, one, fifty, many (1 % of all tasks, granted one by one),
            admin (of the tenant with 1 % of all tasks), platform (all), crowd (in 1,000 groups, fifty tasks).
        many: how many tasks that 1 % is.
    """

    tasks: int
    tenants: int
    relationships: int = 0
    callers: dict[str, str] = field(default_factory=dict)
    many: int = 0


async def load(connection: "asyncpg.Connection[asyncpg.Record]", tasks: int) -> tuple[Data, PostgresEngine]:
    """Write everything, or find it written by an earlier run.

    Args:
        connection: to a migrated database.
        tasks: how many tasks.
    """
    engine = await load_engine(connection, Settings())
    assert isinstance(engine, PostgresEngine)
    if await connection.fetchval("SELECT to_regclass('bench.loaded') IS NOT NULL"):
        found = json.loads(await connection.fetchval("SELECT data FROM bench.loaded"))
        if found["tasks"] != tasks:
            raise SystemExit(f"this data directory holds {found['tasks']} tasks; use another one")
        return Data(**found), engine
    data = Data(tasks, max(10, tasks // 1000))
    await connection.execute("CREATE SCHEMA bench;" + _ID)
    await connection.execute("SET maintenance_work_mem = '512MB'; SET synchronous_commit = off")
    await _write_rows(connection, data)
    data.relationships = await _write_relationships(connection, engine, data)
    data.callers = await _write_callers(connection, engine, data)
    await connection.execute("VACUUM (ANALYZE, FREEZE)")
    await connection.execute("CREATE TABLE bench.loaded(data text)")
    await connection.execute("INSERT INTO bench.loaded VALUES ($1)", json.dumps(asdict(data)))
    await connection.execute("CHECKPOINT")
    return data, engine


async def warm_up(connection: "asyncpg.Connection[asyncpg.Record]", schema: str = "public") -> None:
    """Read a schema's tables and indexes into the server's memory: random callers meet pages nobody read before."""
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm SCHEMA bench")
    await connection.execute(
        "SELECT bench.pg_prewarm(c.oid) FROM pg_class c WHERE c.relnamespace = to_regnamespace($1)"
        " AND c.relkind IN ('r', 'i')",
        schema,
    )


async def clean_up(database: Database) -> None:
    """Remove the tasks that the benchmark itself made."""
    async with database.connection() as connection:
        agent = await connection.fetchval("SELECT id FROM agents WHERE name = 'agent-1'")
        made = "t.agent_id = $1 AND t.name IS NULL"
        await connection.execute(
            f"DELETE FROM relationships r USING tasks t WHERE {made} AND r.resource_id = t.id", agent
        )
        await connection.execute("TRUNCATE relationship_history")
        await connection.execute(f"DELETE FROM tasks t WHERE {made}", agent)
        await connection.execute("VACUUM ANALYZE tasks")
        await connection.execute("VACUUM ANALYZE relationships")


async def _write_rows(connection: "asyncpg.Connection[asyncpg.Record]", data: Data) -> None:
    tenants, tasks = data.tenants, data.tasks
    users, agents, groups = (tenants * count for count in (USERS_PER_TENANT, AGENTS_PER_TENANT, GROUPS_PER_TENANT))
    # The first tenant has one task in a hundred; the others share the rest evenly.
    tenant_of = f"CASE WHEN n % 100 = 0 THEN 0 ELSE 1 + bench.draw(n, 1, {tenants - 1}) END"
    await connection.execute(f"""
        INSERT INTO tenants (id, name) SELECT bench.id(n, 'tenant' || n), 'tenant ' || n
          FROM generate_series(0, {tenants - 1}) n;
        INSERT INTO subjects (id, tenant_id, kind, external_id)
        SELECT bench.id(n, 'user' || n), bench.id(n % {tenants}, 'tenant' || n % {tenants}), 'user', 'user' || n
          FROM generate_series(0, {users - 1}) n;
        INSERT INTO groups (id, tenant_id, name)
        SELECT bench.id(n, 'group' || n), bench.id(n % {tenants}, 'tenant' || n % {tenants}), 'group ' || n
          FROM generate_series(0, {groups - 1}) n;
        INSERT INTO agents (id, tenant_id, name, status, acp_type)
        SELECT bench.id(n, 'agent' || n), bench.id(n % {tenants}, 'tenant' || n % {tenants}), 'agent-' || n, 'Ready',
               'async'
          FROM generate_series(0, {agents - 1}) n;
        CREATE UNLOGGED TABLE bench.tasks AS
        SELECT n, bench.id(n * 1000, 'task' || n) AS id, tenant,
               tenant + {tenants} * bench.draw(n, 2, {AGENTS_PER_TENANT}) AS agent,
               tenant + {tenants} * bench.draw(n, 3, {USERS_PER_TENANT}) AS owner,
               tenant + {tenants} * bench.draw(n, 4, {USERS_PER_TENANT}) AS viewer,
               tenant + {tenants} * bench.draw(n, 5, {GROUPS_PER_TENANT}) AS viewers
          FROM (SELECT n, {tenant_of} AS tenant FROM generate_series(0::bigint, {tasks - 1}) n) numbered;
        INSERT INTO tasks (id, tenant_id, agent_id, name, status, task_metadata, creator_user_id)
        SELECT id, bench.id(tenant, 'tenant' || tenant), bench.id(agent, 'agent' || agent), 'task-' || n,
               (ARRAY['RUNNING', 'COMPLETED', 'FAILED'])[1 + bench.draw(n, 6, 3)],
               jsonb_build_object('branch', 'feature/' || n, 'attempt', 1), bench.id(owner, 'user' || owner)
          FROM bench.tasks ORDER BY n;
    """)


async def _write_relationships(
    connection: "asyncpg.Connection[asyncpg.Record]", engine: PostgresEngine, data: Data
) -> int:
    codes = engine.compiler_for("user").codes
    tenants = data.tenants
    users, agents, groups = (tenants * count for count in (USERS_PER_TENANT, AGENTS_PER_TENANT, GROUPS_PER_TENANT))

    def select(
        resource: str, relation: str, subject: str, source: str, columns: tuple[str, str], of: str | None = None
    ) -> str:
        return (
            f"SELECT {codes.types[resource]}, {columns[0]}, {codes.relations[relation]}, {codes.types[subject]},"
            f" {columns[1]}, {codes.relation(of)} FROM {source}"
        )

    def numbers(count: int) -> str:
        return f"generate_series(0, {count - 1}) n"

    def made(kind: str, number: str) -> str:
        return f"bench.id({number}, '{kind}' || {number})"

    tenant, member = made("tenant", f"(n % {tenants})"), made("user", "n")
    parts = [
        select("tenant", "member", "user", numbers(users), (tenant, member)),
        select("tenant", "admin", "user", numbers(tenants), (made("tenant", "n"), member)),
        select("tenant", "agent_member", "agent", numbers(agents), (tenant, made("agent", "n"))),
        select("agent", "tenant", "tenant", numbers(agents), (made("agent", "n"), tenant)),
        select("agent", "owner", "user", numbers(agents), (made("agent", "n"), made("user", "n"))),
        select("agent", "viewer", "tenant", numbers(agents), (made("agent", "n"), tenant), "member"),
        # Half of the groups are members of the other half; every user is in two.
        select(
            "group", "member", "group", numbers(groups // 2),
            (made("group", "n"), made("group", f"(n + {groups // 2})")), "member",
        ),
    ]  # fmt: skip
    for salt in (11, 12):
        mine = f"(n % {tenants} + {tenants} * bench.draw(n, {salt}, {GROUPS_PER_TENANT}))"
        parts.append(select("group", "member", "user", numbers(users), (made("group", mine), member)))
    tasks = "bench.tasks"
    parts += [
        select("task", "tenant", "tenant", tasks, ("id", made("tenant", "tenant"))),
        select("task", "parent_agent", "agent", tasks, ("id", made("agent", "agent"))),
        select("task", "owner", "user", tasks, ("id", made("user", "owner"))),
        select("task", "viewer", "user", f"{tasks} WHERE n % 2 = 0", ("id", made("user", "viewer"))),
        select("task", "viewer", "group", f"{tasks} WHERE n % 2 = 1", ("id", made("group", "viewers")), "member"),
    ]
    # Sorted by the key, as tasks made one after the other would have been.
    await connection.execute(
        "INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id, subject_relation)"
        f" {' UNION '.join(parts)} ORDER BY 1, 2, 3, 4, 5, 6"
    )
    return int(await connection.fetchval("SELECT count(*) FROM relationships"))


async def _write_callers(
    connection: "asyncpg.Connection[asyncpg.Record]", engine: PostgresEngine, data: Data
) -> dict[str, str]:
    codes = engine.compiler_for("user").codes
    types, relations = codes.types, codes.relations
    names = ("none", "one", "fifty", "many", "admin", "platform", "crowd")
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in names}
    second = await connection.fetchval("SELECT id FROM tenants WHERE name = 'tenant 1'")
    first = await connection.fetchval("SELECT id FROM tenants WHERE name = 'tenant 0'")
    home = {"many": first, "admin": first}

    async def relate(resource: str, relation: str, subject: str, of: str | None, source: str, *values: object) -> None:
        await connection.execute(
            "INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id,"
            f" subject_relation) SELECT {types[resource]}, q.resource, {relations[relation]}, {types[subject]},"
            f" q.subject, {codes.relation(of)} FROM ({source}) q ON CONFLICT DO NOTHING",
            *values,
        )

    for name, caller in ids.items():
        tenant = home.get(name, second)
        await connection.execute(
            "INSERT INTO subjects (id, tenant_id, kind, external_id) VALUES ($1, $2, 'user', $3)", caller, tenant, name
        )
        relation = "admin" if name == "admin" else "member"
        await relate(
            "tenant", relation, "user", None, "SELECT $1::uuid AS resource, $2::uuid AS subject", tenant, caller
        )
    scattered = "SELECT id AS resource, $1::uuid AS subject FROM bench.tasks WHERE tenant = 1 ORDER BY md5(n::text)"
    await relate("task", "viewer", "user", None, f"{scattered} LIMIT 1", ids["one"])
    await relate("task", "viewer", "user", None, f"{scattered} LIMIT 50", ids["fifty"])
    in_first = "SELECT id AS resource, $1::uuid AS subject FROM bench.tasks WHERE tenant = 0"
    await relate("task", "viewer", "user", None, in_first, ids["many"])
    data.many = await connection.fetchval("SELECT count(*) FROM bench.tasks WHERE tenant = 0")
    platform = uuid.uuid5(uuid.NAMESPACE_OID, "group of the platform")
    await relate(
        "group", "member", "user", None, "SELECT $1::uuid AS resource, $2::uuid AS subject", platform, ids["platform"]
    )
    await relate(
        "tenant", "admin", "group", "member", "SELECT id AS resource, $1::uuid AS subject FROM tenants", platform
    )
    crowd = f"generate_series(1, {GROUPS_OF_THE_CROWD}) n"
    await relate(
        "group", "member", "user", None,
        f"SELECT bench.id(n, 'crowd' || n) AS resource, $1::uuid AS subject FROM {crowd}", ids["crowd"],
    )  # fmt: skip
    await relate(
        "task", "viewer", "group", "member",
        "SELECT id AS resource, bench.id(place * 20, 'crowd' || place * 20) AS subject FROM"
        " (SELECT id, row_number() OVER (ORDER BY md5(n::text)) AS place FROM bench.tasks WHERE tenant = 1) numbered"
        " WHERE place <= 50",
    )  # fmt: skip
    return ids
