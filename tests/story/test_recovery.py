"""What a server leaves behind when it is told to stop, and what goes on after its database was killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from support.processes import clean_environment, run_remit, wait_until_answering
from support.world import make_world

from remit.db.embedded import EmbeddedPostgres
from remit.worker import enqueue_task

SECONDS = 30


def runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_stops_its_database(upgraded_data_dir: Path, sent: signal.Signals) -> None:
    with run_remit(upgraded_data_dir) as server:
        (pid_file,) = upgraded_data_dir.glob("postgres/*/data/postmaster.pid")
        database = int(pid_file.read_text().splitlines()[0])
        assert runs(database)
        server.process.send_signal(sent)
        assert server.process.wait(SECONDS) == 0
    deadline = time.monotonic() + SECONDS
    while runs(database):
        assert time.monotonic() < deadline, "the database still runs"
        time.sleep(0.05)


async def crash(postgres: EmbeddedPostgres) -> None:
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    await postgres.ensure_running()


async def run_a_job(postgres: EmbeddedPostgres, name: str) -> None:
    await enqueue_task(postgres.dsn, tenant="acme", agent="echo", name=name, params=None)
    connection = await asyncpg.connect(postgres.dsn)
    try:
        for _ in range(SECONDS * 10):
            if await connection.fetchval("SELECT 1 FROM tasks WHERE name = $1", name):
                return
            await asyncio.sleep(0.1)
    finally:
        await connection.close()
    raise AssertionError("the job was not run")


@contextmanager
def run_worker_alone(data_dir: Path) -> Iterator[None]:
    environment = clean_environment(REMIT_DATA_DIR=str(data_dir))
    with subprocess.Popen([sys.executable, "-m", "remit", "worker"], env=environment) as worker:
        try:
            yield
        finally:
            worker.terminate()
            assert worker.wait(SECONDS) == 0


async def test_jobs_go_on_after_the_database_was_killed(upgraded_data_dir: Path) -> None:
    postgres = await EmbeddedPostgres.start(upgraded_data_dir)
    try:
        await make_world(postgres.dsn)
        with run_remit(upgraded_data_dir) as server:
            await crash(postgres)
            wait_until_answering(f"{server.url}/readyz", server.process)
            await run_a_job(postgres, "by the server")
        with run_worker_alone(upgraded_data_dir):
            await run_a_job(postgres, "by a worker")
            await crash(postgres)
            await run_a_job(postgres, "by a worker whose database was killed")
    finally:
        await postgres.stop()
