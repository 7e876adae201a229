"""Reconciliation and backfill of many rows: how fast, how much memory, and what requests beside them feel."""

import argparse
import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from traffic.elsewhere_processes import environment_of, make_database, run_process, settle
from traffic.load import Client
from traffic.processes import mebibytes
from traffic.tenants import Tenant, make_tenants

TESTS = Path(__file__).parents[2] / "tests"
SECONDS_TO_START = 4
SECONDS_TO_TURN = 0.1
# More than a backfill of the default rate registers in the two turns of a round, each of a second at most.
ROWS_OF_A_ROUND = 1500
# SpiceDB's own bookkeeping of a version, and its word for no relation of a subject.
_TO_SPICEDB = """
COPY (
  SELECT t.name, r.resource_id::text, n.name, s.name, coalesce(p.external_id, r.subject_id::text),
         coalesce(sr.name, '...')
    FROM relationships r JOIN authz_types t ON t.code = r.resource_type JOIN authz_relations n ON n.code = r.relation
    JOIN authz_types s ON s.code = r.subject_type LEFT JOIN authz_relations sr ON sr.code = r.subject_relation
    LEFT JOIN subjects p ON p.id = r.subject_id
  UNION ALL
  SELECT DISTINCT 'remit_projection', t.name || '/' || r.resource_id, 'version', 'remit_version', '1', '...'
    FROM relationships r JOIN authz_types t ON t.code = r.resource_type
) TO STDOUT
"""
_COLUMNS = "namespace, object_id, relation, userset_namespace, userset_object_id, userset_relation"


def measure_rows(dsn: str, options: argparse.Namespace) -> dict[str, Any]:
    database = make_database(dsn, "bench_rows")
    tenants = make_tenants(database, {"enforce": "enforce", "adopted": "write"}, outboxed=False)
    tenant, adopted = tenants["enforce"], tenants["adopted"]
    tenant.fill(database, options.rows - options.backfilled, registered=True)
    tenant.fill(database, options.backfilled, registered=False)
    adopted.fill(database, options.rounds * ROWS_OF_A_ROUND, registered=False)
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
        found["latency"] = {
            command: asyncio.run(_beside(command, database, port, tenant, of, options))
            for command, of in (("reconcile", tenant), ("backfill", adopted))
        }
    return found


def measure_rows_beside_spicedb(dsn: str, options: argparse.Namespace) -> dict[str, Any]:
    """The same with a SpiceDB on PostgreSQL that holds everything, and what a backfill leaves to deliver."""
    sys.path.insert(0, str(TESTS))
    from support.spicedb_host import run_spicedb

    database = make_database(dsn, "bench_rows_beside")
    tenants = make_tenants(database, {"enforce": "enforce", "adopted": "write"}, outboxed=False)
    tenant, adopted = tenants["enforce"], tenants["adopted"]
    tenant.fill(database, options.rows, registered=True)
    adopted.fill(database, options.delivered, registered=False)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("CREATE DATABASE bench_spicedb")
    store = dsn.replace("@/remit?", "@/bench_spicedb?")
    found: dict[str, Any] = {}
    with run_spicedb(postgres=store) as spice:
        elsewhere = {
            "REMIT_AUTHZ_ENGINE": "spicedb",
            "REMIT_SPICEDB_ENDPOINT": spice.endpoint,
            "REMIT_SPICEDB_TOKEN": spice.token,
            "REMIT_SPICEDB_TLS": "false",
        }
        with run_process(database, **elsewhere):  # it writes the schema
            _copy(database, store)
        found["reconcile"] = _run_command(
            database, "reconcile", "--tenant", tenant.name, "--rate", "1000000", **elsewhere
        )
        found["backfill"] = _run_command(
            database, "backfill", "--tenant", adopted.name, "--type", "task", "--rate", "1000000", **elsewhere
        )
        with run_process(database, **elsewhere):
            began = time.monotonic()
            settle(database)
            found["delivery"] = {"seconds": time.monotonic() - began, "memory": []}
    return {"beside_rows": options.rows, "beside_backfilled": options.delivered, "beside": found}


def _copy(database: str, store: str) -> None:
    """What a move would write, in one transaction of SpiceDB's own form."""
    with psycopg.connect(database) as ours, psycopg.connect(store) as theirs:
        theirs.execute("INSERT INTO relation_tuple_transaction DEFAULT VALUES")
        with (
            ours.cursor().copy(_TO_SPICEDB) as rows,
            theirs.cursor().copy(f"COPY relation_tuple ({_COLUMNS}) FROM STDIN".encode()) as target,
        ):
            for data in rows:
                target.write(data)
    for url in (database, store):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def in_turns(names: Iterable[str], rounds: int) -> Iterator[list[str]]:
    """The names once in each round, another one first each time."""
    order = list(names)
    for number in range(rounds):
        first = number % len(order)
        yield order[first:] + order[:first]


async def _beside(
    command: str, dsn: str, port: int, tenant: Tenant, of: Tenant, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Latencies of requests while a command of the default rate runs, and while it is stopped, in turn.

    Args:
        command: `reconcile` or `backfill`.
        dsn: the database.
        port: of the server.
        tenant: whose member asks.
        of: whose rows the command is about.
        options: rounds, and seconds of each turn.
    """
    client = Client([port], 1)
    await client.open()
    found: dict[str, list[float]] = {"with": [], "without": [], "again": []}
    process = _start(dsn, command, "--tenant", of.name, "--type", "task")
    try:
        await client.run(tenant.get, seconds=SECONDS_TO_START)
        for turns in in_turns(found, options.rounds * 2):
            for name in turns:
                if process.poll() is not None:
                    raise SystemExit(f"{command} ended with {process.returncode} before the rounds did: add rows")
                process.send_signal(signal.SIGCONT if name == "with" else signal.SIGSTOP)
                await asyncio.sleep(SECONDS_TO_TURN)
                found[name] += (await client.run(tenant.get, seconds=options.seconds)).latencies
    finally:
        process.kill()
        process.wait()
        client.close()
    return found


def _start(dsn: str, *arguments: str, **settings: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "remit", "authz", *arguments, "--json"]
    environment = environment_of(dsn, **settings)
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _run_command(dsn: str, *arguments: str, **settings: str) -> dict[str, Any]:
    """Rows a second of a command, and its memory over its time in MiB."""
    began = time.monotonic()
    process = _start(dsn, *arguments, **settings)
    sizes: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            try:
                sizes.append(mebibytes(process.pid))
            except OSError:
                return

    thread = threading.Thread(target=watch)
    thread.start()
    assert process.wait() == 0, f"{arguments}: {process.returncode}"
    seconds = time.monotonic() - began
    ended.set()
    thread.join()
    return {"seconds": seconds, "memory": [round(size, 1) for size in sizes]}
