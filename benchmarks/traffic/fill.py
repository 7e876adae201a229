"""Tasks by the million: one is made by the product itself, and its rows are copied by SQL."""

from collections.abc import Mapping, Sequence

import asyncpg

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.db.pool import Connection
from remit.tasks.service import insert_task

SECONDS = 1200
# Ids that grow with the number as the server's own grow with time, and that are older than any it makes.
_NUMBERS = """
CREATE UNLOGGED TABLE bench_tasks AS
SELECT n, (lpad(to_hex(1750000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
           || '8' || substr(md5(n::text), 4, 15))::uuid AS id FROM generate_series(1, {tasks}) n
"""


async def copy_task(
    connection: Connection, engine: PostgresEngine, tenant: str, agent: str, owner: Subject, tasks: int
) -> str:
    """Have one task made as `task/create` makes it, and copy all of its rows so many times; return its id."""
    made = await insert_task(
        connection, engine, tenant_id=tenant, agent_id=agent, creator=owner, params={"a": 1}, task_metadata={"b": 2}
    )
    assert made is not None, "it has no name that could be taken"
    pattern = str(made["id"])
    await connection.execute(_NUMBERS.format(tasks=int(tasks)), timeout=SECONDS)
    await _copy(connection, "tasks", "id", pattern, {"id": "b.id"})
    await _copy(connection, "agent_task_trackers", "task_id", pattern, {"task_id": "b.id", "id": "gen_random_uuid()"})
    await _copy(connection, "relationships", "resource_id", pattern, {"resource_id": "b.id"})
    return pattern


async def share(
    connection: Connection, engine: PostgresEngine, pattern: str, users: Sequence[str], readable: int, tasks: int
) -> None:
    """Make users viewers of so many tasks each, spread evenly over all, each one's a little apart from the next's."""
    task = Resource("task", pattern)
    facts = [Relationship(task, "viewer", Subject("user", user)) for user in users]
    await engine.write(connection, touch=facts)
    step = tasks // readable
    await connection.execute("CREATE TEMP TABLE bench_users (id uuid, place int)")
    await connection.execute("INSERT INTO bench_users SELECT * FROM unnest($1::uuid[]) WITH ORDINALITY", list(users))
    shared = (
        f"(SELECT t.n, t.id, u.id AS reader FROM generate_series(1, {readable}) k CROSS JOIN bench_users u"
        f" JOIN bench_tasks t ON t.n = k * {step} - u.place % {step})"
    )
    copied = await _copy(
        connection, "relationships", "resource_id", pattern, {"resource_id": "b.id"}, shared, "p.subject_id = b.reader"
    )
    await connection.execute("DROP TABLE bench_users")
    if copied != readable * len(users):
        raise RuntimeError(f"{len(users)} callers were to read {readable} tasks each; {copied} relationships were made")
    await engine.write(connection, delete=facts)


async def _copy(
    connection: Connection,
    table: str,
    key: str,
    pattern: str,
    replaced: Mapping[str, str],
    tasks: str = "bench_tasks",
    only: str = "TRUE",
) -> int:
    """Copy the pattern's rows of a table for some numbered tasks, column by column but for the replaced ones."""
    found = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass"
        " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity <> 'a' ORDER BY attnum",
        table,
    )
    columns = [str(row["attname"]) for row in found]
    values = [replaced.get(column, f"p.{column}") for column in columns]
    done = await connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
        f" FROM {tasks} b CROSS JOIN {table} p WHERE p.{key} = $1 AND {only} ORDER BY b.n",
        pattern,
        timeout=SECONDS,
    )
    return int(done.rpartition(" ")[2])


async def warm_up(dsn: str) -> None:
    """Leave the tables as a server has them that has run for a while: vacuumed, analyzed, read into memory."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute("VACUUM (ANALYZE, FREEZE)", timeout=SECONDS)
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        await connection.execute(
            "SELECT pg_prewarm(c.oid) FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
            " AND c.relkind IN ('r', 'i')",
            timeout=SECONDS,
        )
        await connection.execute("CHECKPOINT", timeout=SECONDS)
    finally:
        await connection.close()
