"""Whether a tenant number should lead key and index of `relationships`: `scripts/bench tenant_number`.

The same relationships go into two tables that differ in this alone. A number is 4 bytes; every probe of a check and
every branch of a list must then know it, and a relationship that crosses tenants can no longer be found.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

import asyncpg
import uvloop
from graph.data import load

from remit.db.embedded import EmbeddedPostgres
from remit.migrations.run import upgrade

SERVER = {"shared_buffers": "2GB", "max_wal_size": "4GB"}
KEY = "resource_type, resource_id, relation, subject_type, subject_id, subject_relation"
BY_SUBJECT = "subject_type, subject_id, subject_relation, resource_type, relation, resource_id DESC"
PROBE = (
    "SELECT 1 FROM {table} WHERE {tenant}resource_type = $2 AND resource_id = $3 AND relation = $4"
    " AND subject_type = $5 AND subject_id = $6 AND subject_relation = 0"
)
BRANCH = (
    "SELECT resource_id FROM {table} WHERE {tenant}subject_type = $5 AND subject_id = $6 AND subject_relation = 0"
    " AND resource_type = $2 AND relation = $4 AND $3::uuid IS NOT NULL ORDER BY resource_id DESC LIMIT 50"
)


async def make(connection: "asyncpg.Connection[asyncpg.Record]", table: str, tenant: str) -> float:
    """Write one of the tables; return the seconds of 20,000 inserts into it."""
    await connection.execute(f"DROP TABLE IF EXISTS {table}")
    await connection.execute(f"CREATE TABLE {table} (LIKE relationships INCLUDING DEFAULTS)")
    if tenant:
        await connection.execute(f"ALTER TABLE {table} ADD COLUMN tenant int NOT NULL DEFAULT 0")
    columns = "resource_type, relation, subject_type, subject_relation, resource_id, subject_id"
    await connection.execute(
        f"INSERT INTO {table} ({columns}{tenant}) SELECT r.resource_type, r.relation, r.subject_type,"
        f" r.subject_relation, r.resource_id, r.subject_id{', coalesce(t.tenant, 0)' if tenant else ''}"
        " FROM relationships r LEFT JOIN bench.tasks t ON t.id = r.resource_id"
    )
    first = "tenant, " if tenant else ""
    await connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({first}{KEY})")
    await connection.execute(f"CREATE INDEX ON {table} ({first}{BY_SUBJECT}) INCLUDE (expires_at)")
    await connection.execute(f"VACUUM (ANALYZE, FREEZE) {table}")
    started = time.perf_counter()
    await connection.execute(
        f"INSERT INTO {table} ({columns}{tenant}) SELECT 99, 1, 1, 0, gen_random_uuid(), gen_random_uuid()"
        f"{', n % 1000' if tenant else ''} FROM generate_series(1, 20000) n"
    )
    return time.perf_counter() - started


async def run(dsn: str, tasks: int, rounds: int) -> None:
    """Load, measure, print."""
    connection = await asyncpg.connect(dsn)
    data, _ = await load(connection, tasks)
    await connection.execute("SET plan_cache_mode = force_generic_plan; SET maintenance_work_mem = '512MB'")
    variants = {"without": ("bench.plain", ""), "with": ("bench.numbered", ", tenant")}
    inserts = {name: await make(connection, table, tenant) for name, (table, tenant) in variants.items()}
    samples = await connection.fetch(
        "SELECT b.tenant, r.* FROM bench.tasks b JOIN relationships r ON r.resource_id = b.id"
        " WHERE r.subject_relation = 0 AND r.subject_type = (SELECT code FROM authz_types WHERE name = 'user')"
        " AND b.n % 997 = 0 LIMIT 1000"
    )
    times: dict[tuple[str, str], list[float]] = {}
    statements = {
        (name, kind): await connection.prepare(
            text.format(table=table, tenant="tenant = $1 AND " if tenant else "$1::int IS NOT NULL AND ")
        )
        for name, (table, tenant) in variants.items()
        for kind, text in (("probe", PROBE), ("branch of 50", BRANCH))
    }
    for turn in range(rounds + 10):
        for key in random.sample(list(statements), len(statements)):
            row = random.choice(samples)
            values = [
                row[name]
                for name in ("tenant", "resource_type", "resource_id", "relation", "subject_type", "subject_id")
            ]
            started = time.perf_counter()
            await statements[key].fetch(*values)
            if turn >= 10:
                times.setdefault(key, []).append(time.perf_counter() - started)
    print(f"{data.relationships:,} relationships")
    print("| tenant number | heap + indexes, MB | probe, us | branch of 50, us | 20,000 inserts, s |")
    print("| --- | --: | --: | --: | --: |")
    for name, (table, _) in variants.items():
        size = await connection.fetchval("SELECT pg_total_relation_size($1::regclass) / 1000000", table)
        cells = []
        for kind in ("probe", "branch of 50"):
            ordered = sorted(times[name, kind])
            cells.append(f"{ordered[len(ordered) // 10] * 1e6:.0f} (p50 {ordered[len(ordered) // 2] * 1e6:.0f})")
        print(f"| {name} | {size} | {' | '.join(cells)} | {inserts[name]:.2f} |")
        await connection.execute(f"DROP TABLE {table}")
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Relationships with and without a leading tenant number.")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--data-dir", type=Path, help="keep the data here, and use it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as scratch:
        server = EmbeddedPostgres.start_blocking(arguments.data_dir or Path(scratch), options=SERVER)
        try:
            upgrade(server.dsn)
            uvloop.run(run(server.dsn, arguments.tasks, arguments.rounds))
        finally:
            server.stop_blocking()


if __name__ == "__main__":
    main()
