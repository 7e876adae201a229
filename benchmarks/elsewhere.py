"""What an engine elsewhere, shadow, reconciliation and backfill cost: `scripts/bench elsewhere`.

SpiceDB is the library of `scripts/get-spicedb` behind a host written in Python, or the `spicedb` on the PATH.
"""

import argparse
import asyncio
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from traffic import elsewhere_report
from traffic.load import Client, encode
from traffic.processes import free_port
from traffic.tenants import Tenant, make_tenants

from remit.db.embedded import EmbeddedPostgres
from remit.migrations.run import upgrade

TESTS = Path(__file__).parents[1] / "tests"
IN_FLIGHT = 4
START_SECONDS = 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.7, help="of one case in one round")
    parser.add_argument("--rows", type=int, default=1_000_000, help="tasks to reconcile and to backfill")
    parser.add_argument("--backfilled", type=int, default=200_000, help="how many of them without relationships")
    parser.add_argument("--parts", nargs="*", default=["requests", "rows"])
    parser.add_argument("--output", type=Path, help="folder for the page and the plot")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        Path(folder).chmod(0o755)
        postgres = EmbeddedPostgres.start_blocking(Path(folder))
        try:
            if "requests" in options.parts:
                found |= measure_requests(postgres.dsn, options)
            if "rows" in options.parts:
                found |= measure_rows(postgres.dsn, options)
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
    alone, beside = _make_database(dsn, "bench_alone"), _make_database(dsn, "bench_beside")
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
            _settle(beside)
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


# rows ---------------------------------------------------------------------------------------------------------------


def measure_rows(dsn: str, options: argparse.Namespace) -> dict[str, Any]:
    database = _make_database(dsn, "bench_rows")
    tenants = make_tenants(database, {"enforce": "enforce"}, outboxed=False)
    tenant = tenants["enforce"]
    tenant.fill(database, options.rows - options.backfilled, registered=True)
    tenant.fill(database, options.backfilled, registered=False)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    found: dict[str, Any] = {"rows": options.rows, "backfilled": options.backfilled}
    found["backfill"] = _run_command(
        database, "backfill", "--tenant", tenant.name, "--type", "task", "--rate", "1000000"
    )
    found["reconcile"] = _run_command(
        database, "reconcile", "--tenant", tenant.name, "--type", "task", "--rate", "1000000"
    )
    with run_process(database) as port:
        found["latency"] = asyncio.run(_beside_reconciliation(database, port, tenant, options))
    return found


async def _beside_reconciliation(
    dsn: str, port: int, tenant: Tenant, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Latencies of requests while a reconciliation of the default rate runs, and while it is stopped, in turn."""
    client = Client([port], 1)
    await client.open()
    found: dict[str, list[float]] = {"with": [], "without": []}
    process = _start(dsn, "reconcile", "--tenant", tenant.name, "--type", "task")
    try:
        await client.run(tenant.get, seconds=4)
        for _ in range(options.rounds * 2):
            for name, way in (("with", signal.SIGCONT), ("without", signal.SIGSTOP)):
                if process.poll() is not None:
                    process = _start(dsn, "reconcile", "--tenant", tenant.name, "--type", "task")
                    await asyncio.sleep(4)
                process.send_signal(way)
                await asyncio.sleep(0.1)
                found[name] += (await client.run(tenant.get, seconds=options.seconds)).latencies
    finally:
        process.kill()
        process.wait()
        client.close()
    return found


def _start(dsn: str, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "remit", "authz", *arguments, "--json"]
    return subprocess.Popen(command, env=_environment(dsn), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _run_command(dsn: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Rows a second of a command, and its memory over its time in MiB."""
    began = time.monotonic()
    process = _start(dsn, *arguments)
    sizes: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            try:
                lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                return
            sizes.append(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024)

    thread = threading.Thread(target=watch)
    thread.start()
    assert process.wait() == code, f"{arguments}: {process.returncode}"
    seconds = time.monotonic() - began
    ended.set()
    thread.join()
    return {"seconds": seconds, "memory": [round(size, 1) for size in sizes]}


# processes ----------------------------------------------------------------------------------------------------------


def _environment(dsn: str, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")}
    return {**kept, "REMIT_DATABASE_URL": dsn, **settings}


@contextmanager
def run_process(dsn: str, **settings: str) -> Iterator[int]:
    """`remit serve`; gives its port."""
    port = free_port()
    with _serving([sys.executable, "-m", "remit", "serve", "--port", str(port)], _environment(dsn, **settings), port):
        yield port


@contextmanager
def run_provider(dsn: str) -> Iterator[int]:
    """`remit auth serve`; gives its port."""
    port = free_port()
    environment = _environment(dsn, REMIT_SECRET_KEY="a key that only benchmarks know, 12345")
    with _serving([sys.executable, "-m", "remit", "auth", "serve", "--port", str(port)], environment, port):
        yield port


@contextmanager
def _serving(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    log = None if "REMIT_BENCH_SHOW" in os.environ else subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        asyncio.run(_wait_until_ready(process, port))
        yield
    finally:
        process.terminate()
        process.wait(30)


async def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            if process.poll() is not None:
                raise SystemExit(f"a server ended with {process.returncode}; see REMIT_BENCH_SHOW=1")
            client = Client([port], 1)
            try:
                await client.open()
                await client.one(encode(("GET", "/readyz", {}, None)))
            except (OSError, RuntimeError):
                await asyncio.sleep(0.1)
            else:
                return
            finally:
                client.close()


def _settle(dsn: str) -> None:
    """Wait until everything that was made is delivered."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute("SELECT 1 FROM outbox LIMIT 1").fetchone():
            time.sleep(0.2)


def _make_database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    dsn = server.replace("@/remit?", f"@/{name}?")
    upgrade(dsn)
    return dsn


if __name__ == "__main__":
    main()
