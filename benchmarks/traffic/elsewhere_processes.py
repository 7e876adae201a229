"""The servers of `scripts/bench elsewhere`, as their users start them, and their databases."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from remit.migrations.run import upgrade
from traffic.load import Client, encode
from traffic.processes import Served, free_port

START_SECONDS = 90


def environment_of(dsn: str, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")}
    return {**kept, "REMIT_DATABASE_URL": dsn, **settings}


@contextmanager
def run_process(dsn: str, **settings: str) -> Iterator[int]:
    """`remit serve`; gives its port."""
    with run_served(dsn, **settings) as served:
        yield served.port


@contextmanager
def run_served(dsn: str, **settings: str) -> Iterator[Served]:
    """`remit serve`; gives its port and its process."""
    port = free_port()
    command = [sys.executable, "-m", "remit", "serve", "--port", str(port)]
    with _serving(command, environment_of(dsn, **settings), port) as process:
        yield Served(port, process.pid)


@contextmanager
def run_provider(dsn: str) -> Iterator[int]:
    """`remit auth serve`; gives its port."""
    port = free_port()
    environment = environment_of(dsn, REMIT_SECRET_KEY="a key that only benchmarks know, 12345")
    with _serving([sys.executable, "-m", "remit", "auth", "serve", "--port", str(port)], environment, port):
        yield port


@contextmanager
def _serving(command: list[str], environment: dict[str, str], port: int) -> Iterator["subprocess.Popen[bytes]"]:
    log = None if "REMIT_BENCH_SHOW" in os.environ else subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        asyncio.run(_wait_until_ready(process, port))
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
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


def settle(dsn: str) -> None:
    """Wait until everything that was made is delivered."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute("SELECT 1 FROM outbox LIMIT 1").fetchone():
            time.sleep(0.2)


def make_database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    dsn = server.replace("@/remit?", f"@/{name}?")
    upgrade(dsn)
    return dsn
