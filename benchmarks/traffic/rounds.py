"""Requests in rounds: each is compared with what was measured in the same round."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from remit.ids import new_id
from traffic.cases import BARE, Case
from traffic.load import Client
from traffic.processes import Served, family_cpu_seconds
from traffic.results import Row, share_of

IN_FLIGHT = 16
INSERT = "a raw insert by asyncpg"


@dataclass(frozen=True)
class Site:
    """What is measured.

    Attributes:
        dsn: of its database.
        server: the process that is asked.
        postmaster: process id of PostgreSQL.
        tasks: how many there are.
    """

    dsn: str
    server: Served
    postmaster: int
    tasks: int


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


async def measure(site: Site, cases: Sequence[Case], client: Client, rounds: int, seconds: float) -> list[Row]:
    """All cases in turn, so many rounds.

    Args:
        site: where.
        cases: each after the one that it is compared with.
        client: asks.
        rounds: how many.
        seconds: how long each case lasts in a round.
    """
    rows = {case.name: Row(case.name, site.tasks, case.against, case.wanted, case.aim) for case in cases}
    raw = Row(INSERT, site.tasks, BARE)
    for case in cases:
        say(f"{case.name}, {site.tasks:,} tasks")
        await client.run(case.make, seconds=seconds)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        raw.rates.append(await insert_raw(site.dsn, seconds))
        for case in cases:
            await _measure_once(site, client, case, rows[case.name], seconds)
    for row in rows.values():
        row.ratios = share_of(row.rates, rows[row.against].rates)
        row.inserts = share_of(row.rates, raw.rates)
        latencies = sorted(row.latencies)
        row.p50, row.p95 = latencies[len(latencies) // 2], latencies[len(latencies) * 95 // 100]
    raw.ratios, raw.inserts = share_of(raw.rates, rows[BARE].rates), [1.0] * rounds
    return [*rows.values(), raw]


async def _measure_once(site: Site, client: Client, case: Case, row: Row, seconds: float) -> None:
    server, database = site.server.cpu_seconds(), family_cpu_seconds(site.postmaster)
    measured = await client.run(case.make, seconds=seconds)
    count = len(measured.latencies)
    row.rates.append(measured.per_second)
    row.latencies += measured.latencies
    row.server_ms.append((site.server.cpu_seconds() - server) * 1000 / count)
    row.database_ms.append((family_cpu_seconds(site.postmaster) - database) * 1000 / count)


def say(what: str) -> None:
    """Tell what is being measured, on the error output."""
    print(f"measuring {what} …", file=sys.stderr, flush=True)
