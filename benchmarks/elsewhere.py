"""What an engine elsewhere, shadow, reconciliation and backfill cost: `scripts/bench elsewhere`.

SpiceDB is the library of `scripts/get-spicedb` behind a host written in Python, or the `spicedb` on the PATH.
"""

import argparse
import asyncio
import os
import platform
import signal
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
from traffic import elsewhere_report
from traffic.elsewhere_processes import make_database, run_process, run_provider, run_served, settle
from traffic.elsewhere_rows import TESTS, in_turns, measure_rows, measure_rows_beside_spicedb
from traffic.load import Client
from traffic.processes import Served
from traffic.tenants import Tenant, make_tenants

from remit.db.embedded import EmbeddedPostgres

IN_FLIGHT = 4
SECONDS_TO_WARM = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.7, help="of one case in one round")
    parser.add_argument("--rows", type=int, default=1_000_000, help="tasks to reconcile and to backfill")
    parser.add_argument("--backfilled", type=int, default=200_000, help="how many of them without relationships")
    parser.add_argument("--delivered", type=int, default=20_000, help="tasks to backfill beside SpiceDB")
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, IN_FLIGHT], help="requests beside shadow")
    parser.add_argument("--parts", nargs="*", default=["requests", "shadow", "rows", "beside"])
    parser.add_argument("--output", type=Path, help="folder for the page and the plot")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        Path(folder).chmod(0o755)
        postgres = EmbeddedPostgres.start_blocking(Path(folder))
        try:
            if "requests" in options.parts:
                found |= measure_requests(postgres.dsn, options)
            if "shadow" in options.parts:
                found |= measure_shadow(postgres.dsn, options)
            if "rows" in options.parts:
                found |= measure_rows(postgres.dsn, options)
            if "beside" in options.parts:
                found |= measure_rows_beside_spicedb(postgres.dsn, options)
            with psycopg.connect(postgres.dsn) as connection:
                (version,) = connection.execute("SHOW server_version").fetchone() or ("",)
        finally:
            postgres.stop_blocking()
    notes = (
        f"Written by `scripts/bench elsewhere`. PostgreSQL {version}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores for client, server, SpiceDB and database together; {IN_FLIGHT} requests in flight, "
        f"one server process; the cases of a round one after the other, {options.rounds} rounds. Load of the machine "
        f"at the end: {os.getloadavg()[0]:.1f}."
    )
    text = elsewhere_report.write_page(found, notes)
    print(text)
    if options.output:
        elsewhere_report.write(options.output, found, text)


# requests -----------------------------------------------------------------------------------------------------------


def measure_requests(dsn: str, options: argparse.Namespace) -> dict[str, Any]:
    alone, beside = make_database(dsn, "bench_alone"), make_database(dsn, "bench_beside")
    sys.path.insert(0, str(TESTS))
    from support.spicedb_host import run_spicedb

    with run_spicedb() as spice:
        elsewhere = {
            "REMIT_AUTHZ_ENGINE": "spicedb",
            "REMIT_SPICEDB_ENDPOINT": spice.endpoint,
            "REMIT_SPICEDB_TOKEN": spice.token,
            "REMIT_SPICEDB_TLS": "false",
        }
        first = make_tenants(alone, {"off": "off", "enforce": "enforce"}, outboxed=False)
        second = make_tenants(beside, {"enforce": "enforce", "write": "write", "shadow": "shadow"}, outboxed=True)
        with run_process(alone) as here, run_process(beside, **elsewhere) as there, run_provider(alone) as provider:
            settle(beside)
            cases = {
                "create, off": (here, first["off"].create),
                "create, embedded": (here, first["enforce"].create),
                "create, SpiceDB": (there, second["enforce"].create),
                "get, off": (here, first["off"].get),
                "get, embedded": (here, first["enforce"].get),
                "get, SpiceDB": (there, second["enforce"].get),
                "get, SpiceDB, a change pending": (there, second["enforce"].get_pending),
                "get, roles decide": (there, second["write"].get),
                "get, roles decide, shadow": (there, second["shadow"].get),
                "check of the provider": (provider, first["enforce"].check),
            }
            return {
                "requests": asyncio.run(_rounds(cases, options, beside, second["enforce"], provider, first["enforce"]))
            }


async def _rounds(
    cases: dict[str, Any],
    options: argparse.Namespace,
    beside: str,
    pending: Tenant,
    provider: int,
    asked: Tenant,
) -> dict[str, dict[str, list[float]]]:
    await asked.authenticate(provider)
    clients = {}
    for name, (port, _) in cases.items():
        clients[name] = Client([port], IN_FLIGHT)
        await clients[name].open()
    pending.leave_pending(beside)
    figures: dict[str, dict[str, list[float]]] = {name: {"rates": [], "latencies": [], "p95": []} for name in cases}
    for number in range(options.rounds + 1):
        for name, (_, make) in cases.items():
            measured = await clients[name].run(make, seconds=options.seconds)
            if number:  # the first is to warm up
                figures[name]["rates"].append(measured.per_second)
                figures[name]["latencies"] += measured.latencies
                figures[name]["p95"].append(statistics.quantiles(measured.latencies, n=20)[-1])
    for client in clients.values():
        client.close()
    return figures


# shadow -------------------------------------------------------------------------------------------------------------


def measure_shadow(dsn: str, options: argparse.Namespace) -> dict[str, Any]:
    """The same request with and without comparisons, in turn: one at a time, and as many as saturate a server.

    What a server has left to compare it compares after its turn as well, so that each has a process of its own.
    """
    database = make_database(dsn, "bench_shadow")
    tenants = make_tenants(database, {"write": "write", "shadow": "shadow"}, outboxed=False)
    cases = {"with": tenants["shadow"], "without": tenants["write"], "again": tenants["write"]}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(run_served(database)) for name in cases}
        return {
            "shadow": {
                in_flight: asyncio.run(_with_and_without(servers, cases, in_flight, options))
                for in_flight in options.at_once
            }
        }


async def _with_and_without(
    servers: dict[str, Served], cases: dict[str, Tenant], in_flight: int, options: argparse.Namespace
) -> dict[str, list[float]]:
    for server in servers.values():
        os.kill(server.pid, signal.SIGSTOP)
    found: dict[str, list[float]] = {name: [] for name in cases}
    for turns in in_turns(found, options.rounds):
        for name in turns:
            # Connections of its own: those that were idle for so long are closed.
            client = Client([servers[name].port], in_flight)
            os.kill(servers[name].pid, signal.SIGCONT)
            await client.open()
            # Until it has found out anew how busy it is: to a process that was stopped, that time was idle.
            await client.run(cases[name].get, seconds=SECONDS_TO_WARM)
            found[name] += (await client.run(cases[name].get, seconds=options.seconds)).latencies
            client.close()
            os.kill(servers[name].pid, signal.SIGSTOP)
    return found


if __name__ == "__main__":
    main()
