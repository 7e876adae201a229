"""Whether what was copied is true: rows and relationships of a sample, judged by the reconciler."""

import random

from remit.authz.postgres import PostgresEngine
from remit.authz.reconcile.rows import KINDS, compare_row, read_relationships, read_rows, read_subject_tenants
from remit.db.pool import Connection

BATCH = 500


async def check_sample(connection: Connection, engine: PostgresEngine, tenant: str, tasks: int, batches: int) -> int:
    """Compare some of a tenant's tasks with their relationships: all, or batches drawn at random.

    Args:
        connection: to the database.
        engine: of the relationships.
        tenant: whose tasks.
        tasks: how many were copied.
        batches: most to look at.

    Returns:
        How many tasks were compared.

    Raises:
        RuntimeError: there is something to say about one of them.
    """
    kind, compared = KINDS["task"], 0
    starts = range(1, tasks + 1, BATCH)
    for start in random.Random(1).sample(starts, min(batches, len(starts))):
        first = str(await connection.fetchval("SELECT id FROM bench_tasks WHERE n = $1", start))
        rows = await read_rows(connection, kind, tenant, first, BATCH)
        relationships = await read_relationships(connection, engine, kind.type, [row["id"] for row in rows])
        tenants = await read_subject_tenants(connection, [one for found in relationships.values() for one in found])
        for row in rows:
            if findings := compare_row(kind, tenant, row, relationships.get(row["id"], []), tenants):
                raise RuntimeError(f"what was copied is not true: {findings}")
        compared += len(rows)
    if not compared:
        raise RuntimeError("there is nothing to compare")
    return compared
