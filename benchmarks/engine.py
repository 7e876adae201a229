"""What authorization costs beside the rows themselves: `scripts/bench engine [--tasks 1000000]`."""

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import uvloop
from graph.data import Data, clean_up, load, warm_up
from graph.plans import print_plans
from graph.questions import Questions
from graph.samples import Samples, draw_samples
from graph.spicedb import SpiceDB, copy_relationships
from graph.timing import Row, measure, measure_crowded, render, render_beside

from remit.authz.postgres import PostgresEngine
from remit.db.embedded import EmbeddedPostgres
from remit.db.pool import Database
from remit.migrations.run import upgrade

CONNECTIONS = 16
# A question of SpiceDB that takes longer than this is not asked 16 times at once.
SLOW_SECONDS = 0.2
ROUNDS_OF_A_TURN = 5
SERVER = {"shared_buffers": "2GB", "max_wal_size": "4GB"}


async def run(dsn: str, arguments: argparse.Namespace) -> None:
    """Load, ask, print."""
    plain = await asyncpg.connect(dsn)
    data, engine = await load(plain, arguments.tasks)
    samples = await draw_samples(plain, data, arguments.seed)
    await warm_up(plain)
    if arguments.spicedb or arguments.beside_alone:
        await copy_relationships(plain)
    version = await plain.fetchval("SELECT version()")
    await plain.close()
    print(version)
    print(f"{data.tasks:,} tasks, {data.tenants:,} tenants, {data.relationships:,} relationships\n", flush=True)
    if arguments.load:
        return
    database = await Database.open(dsn, size=CONNECTIONS)
    rows = Questions(database, engine, data, samples).make_rows()
    if arguments.beside_alone:
        await measure_beside(dsn, database, engine, data, samples, arguments)
        await database.close()
        return
    if arguments.only:
        wanted = [row for row in rows if arguments.only in row.name]
        needed = {row.reference for row in wanted} | {row.name for row in wanted}
        rows = [row for row in rows if row.name in needed]
    # Rows that were just written are not yet known to be visible to all, which would cost the lists.
    for part in ([row for row in rows if not row.writes], [row for row in rows if row.writes]):
        await measure(database, part, arguments.rounds, arguments.seed)
        if not arguments.one_connection:
            await measure_crowded(database, part, CONNECTIONS, 3, arguments.seconds)
    await clean_up(database)
    print(render(rows), flush=True)
    if arguments.spicedb:
        await measure_beside(dsn, database, engine, data, samples, arguments)
    if arguments.plans:
        known = {row.name: row for row in rows}
        shown = [row for row in rows if row.target and row.missed(known)]
        await print_plans(database, rows if arguments.only else shown)
    await database.close()


async def measure_beside(
    dsn: str,
    database: Database,
    engine: PostgresEngine,
    data: Data,
    samples: Samples,
    arguments: argparse.Namespace,
) -> None:
    """Ask SpiceDB and the engine the same, and print how many times longer SpiceDB takes.

    They have turns of a few rounds: its library goes on working in this process after a call, which would count for
    whoever is asked next.
    """
    spice = SpiceDB(dsn, engine)
    try:
        rows: list[Row] = spice.make_rows(Questions(database, engine, data, samples), data, samples)
        if arguments.only:
            rows = [row for row in rows if arguments.only in row.name]
        names = {row.name for row in rows}
        sides = [row for row in rows if row.reference not in names], [row for row in rows if row.reference in names]
        for turn in range(arguments.beside_turns):
            for side in sides:
                await measure(database, side, ROUNDS_OF_A_TURN, arguments.seed + turn)
        if not arguments.one_connection:
            slow = {row.name for row in rows if row.percentile(0.5) > SLOW_SECONDS}
            quick = [row for row in rows if row.name not in slow]
            with ThreadPoolExecutor(CONNECTIONS) as threads:
                spice.threads = threads
                await measure_crowded(database, quick, CONNECTIONS, 2, arguments.seconds)
        print("\n" + render_beside(rows), flush=True)
    finally:
        spice.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="What authorization costs beside the rows themselves.")
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200, help="calls of each row on one connection")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each row has 16 connections, three times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="rows whose name contains this, and their references")
    parser.add_argument("--one-connection", action="store_true", help="leave out the part with 16 connections")
    parser.add_argument("--keep", type=Path, help="keep the data in a folder here, one per size, and use it again")
    parser.add_argument("--load", action="store_true", help="load the data that --keep keeps, and measure nothing")
    parser.add_argument("--plans", action="store_true", help="print the plans of what missed its target, or of --only")
    parser.add_argument("--spicedb", action="store_true", help="ask SpiceDB the same, in the same PostgreSQL")
    parser.add_argument("--beside-turns", type=int, default=5, help="turns of SpiceDB, of five calls of each row")
    parser.add_argument("--beside-alone", action="store_true", help="ask only what SpiceDB is asked too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as scratch:
        folder = arguments.keep / str(arguments.tasks) if arguments.keep else Path(scratch)
        server = EmbeddedPostgres.start_blocking(folder, options=SERVER)
        try:
            upgrade(server.dsn)
            uvloop.run(run(server.dsn, arguments))
        finally:
            server.stop_blocking()


if __name__ == "__main__":
    main()
