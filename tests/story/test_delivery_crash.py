"""`kill -9` between the commit of a row and its delivery to a graph elsewhere: the next process delivers."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
from support.commands import remit
from support.processes import run_remit
from support.spicedb_host import run_spicedb
from support.world import make_world_blocking

from remit.settings import Settings

WAIT_SECONDS = 60


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)
    return found


def test_a_killed_server_owes_and_the_next_one_pays(database: str) -> None:
    with run_spicedb(pausable=True) as spice:
        elsewhere: dict[str, Any] = {
            "REMIT_DATABASE_URL": database,
            "REMIT_AUTHZ_ENGINE": "spicedb",
            "REMIT_SPICEDB_ENDPOINT": spice.endpoint,
            "REMIT_SPICEDB_TOKEN": spice.token,
            "REMIT_SPICEDB_TLS": "false",
        }

        def query(statement: str) -> list[tuple[Any, ...]]:
            with psycopg.connect(database) as connection:
                return connection.execute(statement.encode()).fetchall()

        with run_remit(None, **elsewhere) as server, ThreadPoolExecutor(1) as pool:
            world = make_world_blocking(database, agents=("echo",), settings=Settings(authz_engine="spicedb"))
            wait_for(lambda: not query("SELECT 1 FROM outbox"))
            # Nothing is delivered any more, and nothing refused: the request waits between commit and answer.
            os.kill(spice.process.pid, signal.SIGUSR1)
            call = pool.submit(
                httpx.post,
                f"{server.url}/agents/name/echo/rpc",
                json={"method": "task/create", "params": {"name": "owed"}},
                headers={"authorization": f"Bearer {world.alice_key}"},
                timeout=30,
            )
            wait_for(lambda: query("SELECT 1 FROM outbox WHERE resource_type = 'task'"))
            server.process.kill()
            server.process.wait()
            assert isinstance(call.exception(), httpx.HTTPError), "it was killed before it answered"
        os.kill(spice.process.pid, signal.SIGUSR2)
        assert query("SELECT name FROM tasks") == [("owed",)]
        with run_remit(None, **elsewhere):
            wait_for(lambda: not query("SELECT 1 FROM outbox WHERE resource_type = 'task'"))
        told = remit("authz", "reconcile", **elsewhere)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "clean" in told.stdout
