"""Requests a second of the whole server beside a route that does nothing: `scripts/bench api`."""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from pathlib import Path

import asyncpg
import orjson
from traffic import report
from traffic.cases import BARE, ONE_MESSAGE, Case, Cases
from traffic.load import Client
from traffic.processes import Served, run_agent, run_server
from traffic.report import Figures
from traffic.world import BenchWorld, make_world

from remit.db.embedded import EmbeddedPostgres
from remit.ids import new_id
from remit.migrations.run import upgrade

IN_FLIGHT = 16
INSERT = "a raw insert by asyncpg"


async def insert_raw(dsn: str, seconds: float) -> float:
    """Rows a second of the smallest statement that stores a task, as many at once as requests elsewhere."""
    async with asyncpg.create_pool(dsn, min_size=IN_FLIGHT, max_size=IN_FLIGHT) as pool:
        await pool.execute("CREATE TABLE IF NOT EXISTS bench_rows (id uuid PRIMARY KEY, name text, params jsonb)")
        count, loop = 0, asyncio.get_running_loop()
        until = loop.time() + seconds

        async def insert() -> None:
            nonlocal count
            while loop.time() < until:
                await pool.execute("INSERT INTO bench_rows VALUES ($1, $2, $3)", new_id(), "task", '{"a": 1}')
                count += 1

        await asyncio.gather(*(insert() for _ in range(IN_FLIGHT)))
        return count / seconds


async def measure(
    dsn: str, served: Served, cases: list[Case], client: Client, tasks: int, options: argparse.Namespace
) -> list[Figures]:
    """All cases in turn, `rounds` times; each ratio is of two measurements of one round."""
    figures = {case.name: Figures(case, tasks) for case in cases}
    insert = Figures(Case(INSERT, lambda _: b""), tasks)
    for case in cases:
        _say(f"{case.name}, {tasks:,} tasks")
        await client.run(case.make, requests=100, seconds=1)
    for _ in range(options.rounds):
        insert.rates.append(await insert_raw(dsn, options.seconds / 2))
        for case in cases:
            before = served.cpu_seconds()
            measured = await client.run(case.make, seconds=options.seconds)
            one = figures[case.name]
            one.rates.append(measured.per_second)
            one.latencies += measured.latencies
            one.cpu.append((served.cpu_seconds() - before) * 1000 / len(measured.latencies))
            one.ratios.append(one.rates[-1] / figures[case.against].rates[-1])
        insert.ratios.append(insert.rates[-1] / figures[BARE].rates[-1])
    return [*figures.values(), insert]


async def measure_first_chunk(client: Client, cases: Cases, count: int) -> list[float]:
    """Milliseconds from the agent's sending to the client's receiving of the first line, one message at a time."""
    late = []
    for _ in range(count):
        connection = await client.one(cases.stream_once())
        assert connection.first is not None
        sent = int(orjson.loads(connection.body.split(b"\n", 1)[0])["result"]["content"]["content"])
        late.append((connection.first - sent) / 1e6)
    return late


async def measure_workers(servers: list[Served], cases: Cases, requests: int) -> list[float]:
    """Milliseconds of server time for a request, with one server and then with all of them."""
    costs = []
    for some in (servers[:1], servers):
        client = Client([one.port for one in some], IN_FLIGHT)
        await client.open()
        await client.run(cases.get, requests=1000)
        before = sum(one.cpu_seconds() for one in some)
        await client.run(cases.get, requests=requests)
        costs.append((sum(one.cpu_seconds() for one in some) - before) * 1000 / requests)
        client.close()
    return costs


async def measure_memory(client: Client, served: Served, cases: Cases, requests: int) -> list[float]:
    """The server's memory after the first half of the requests and after the second, in MiB."""
    sizes = []
    for _ in range(2):
        for make, share in ((cases.get, 0.7), (cases.create, 0.2), (cases.stream_once, 0.1)):
            await client.run(make, requests=int(requests / 2 * share))
        sizes.append(served.mebibytes())
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="*", default=[1_000, 100_000], help="tasks in each database")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one case in one round")
    parser.add_argument("--requests", type=int, default=40_000, help="of the look at memory")
    parser.add_argument("--only", help="cases whose name has this; for trying out")
    parser.add_argument("--output", type=Path, help="folder for the table and the plot")
    options = parser.parse_args()
    results: list[Figures] = []
    more: dict[str, list[float]] = {}
    # Not under /tmp with a long name: a socket's path is bounded.
    with tempfile.TemporaryDirectory(prefix="rb-") as folder, run_agent() as agent:
        Path(folder).chmod(0o755)
        postgres = EmbeddedPostgres.start_blocking(Path(folder))
        try:
            for tasks in options.tasks:
                dsn = _make_database(postgres.dsn, f"bench_{tasks}")
                world = asyncio.run(make_world(dsn, f"http://127.0.0.1:{agent.port}", tasks))
                with run_server(dsn, agent) as served, run_server(dsn, agent) as second:
                    found, also = asyncio.run(_run(dsn, served, second, world, tasks, options))
                    results += found
                    more = {**also, **more}
            version = asyncio.run(_version(postgres.dsn))
        finally:
            postgres.stop_blocking()
    notes = (
        f"Written by `scripts/bench api`. PostgreSQL {version}, Python {platform.python_version()}, {os.cpu_count()} "
        f"cores for client, server, agent and database together; {IN_FLIGHT} requests in flight, one server process, "
        f"authorization and log on; the middle of {options.rounds} rounds, each ratio of two measurements of one "
        f"round. Load of the machine at the end: {os.getloadavg()[0]:.1f}."
    )
    text = report.write_table(results, more, notes)
    print(text)
    if options.output:
        report.write(options.output, results, text)


async def _run(
    dsn: str, served: Served, second: Served, world: BenchWorld, tasks: int, options: argparse.Namespace
) -> tuple[list[Figures], dict[str, list[float]]]:
    client = Client([served.port], IN_FLIGHT)
    await client.open()
    cases = Cases(world, client)
    await cases.prepare()
    first = tasks == options.tasks[0]
    wanted = [*cases.references(), *(cases.rows() if first else []), *await cases.lists()]
    if options.only:
        wanted = [
            case for case in wanted if case.wanted is None or options.only in case.name or case.name == ONE_MESSAGE
        ]
    figures = await measure(dsn, served, wanted, client, tasks, options)
    more: dict[str, list[float]] = {}
    if first and not options.only:
        _say("the first chunk, two servers, memory")
        more["first chunk"] = await measure_first_chunk(client, cases, 300)
        more["workers"] = await measure_workers([served, second], cases, options.requests // 5)
        more["memory"] = await measure_memory(client, served, cases, options.requests)
    client.close()
    return figures, more


def _say(what: str) -> None:
    print(f"measuring {what} …", file=sys.stderr, flush=True)


def _make_database(dsn: str, name: str) -> str:
    async def create() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(create())
    made = dsn.replace("@/remit?", f"@/{name}?")
    upgrade(made)
    return made


async def _version(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
