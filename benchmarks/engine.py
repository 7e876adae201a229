"""What authorization costs beside the rows themselves: `scripts/bench engine [--tasks 1000000]`."""

import argparse
import tempfile
from pathlib import Path

import asyncpg
import uvloop
from graph.data import clean_up, load, warm_up
from graph.questions import Questions, draw_samples
from graph.timing import measure, measure_crowded, render

from remit.db.embedded import EmbeddedPostgres
from remit.db.pool import Database
from remit.migrations.run import upgrade

CONNECTIONS = 16
SERVER = {"shared_buffers": "2GB", "max_wal_size": "4GB"}


async def run(dsn: str, arguments: argparse.Namespace) -> None:
    """Load, ask, print."""
    plain = await asyncpg.connect(dsn)
    data, engine = await load(plain, arguments.tasks)
    samples = await draw_samples(plain, data, arguments.seed)
    await warm_up(plain)
    version = await plain.fetchval("SELECT version()")
    await plain.close()
    database = await Database.open(dsn, size=CONNECTIONS)
    rows = Questions(database, engine, data, samples).make_rows()
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
    await database.close()
    print(version)
    print(f"{data.tasks:,} tasks, {data.tenants:,} tenants, {data.relationships:,} relationships")
    print(render(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description="What authorization costs beside the rows themselves.")
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200, help="calls of each row on one connection")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each row has 16 connections, three times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="rows whose name contains this, and their references")
    parser.add_argument("--one-connection", action="store_true", help="leave out the part with 16 connections")
    parser.add_argument("--data-dir", type=Path, help="keep the data here, and use it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as scratch:
        server = EmbeddedPostgres.start_blocking(arguments.data_dir or Path(scratch), options=SERVER)
        try:
            upgrade(server.dsn)
            uvloop.run(run(server.dsn, arguments))
        finally:
            server.stop_blocking()


if __name__ == "__main__":
    main()
