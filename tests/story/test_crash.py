"""A server, or its database, that is killed in the middle of creates: rows and relationships stay together."""

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import httpx
import pytest
from support.processes import run_remit
from support.world import World, make_world

from remit.db.embedded import EmbeddedPostgres

WRITERS = 8
TASKS_BEFORE_KILL = 40

_UNREGISTERED = """
SELECT t.id FROM tasks t WHERE t.status <> 'DELETED' AND (
  SELECT count(*) FROM relationships r WHERE r.resource_type = (SELECT code FROM authz_types WHERE name = 'task')
     AND r.resource_id = t.id AND r.relation IN (
       SELECT code FROM authz_relations WHERE name IN ('tenant', 'owner', 'parent_agent'))) <> 3
"""
_ORPHANED = """
SELECT r.resource_id FROM relationships r WHERE r.resource_type = (SELECT code FROM authz_types WHERE name = 'task')
   AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = r.resource_id AND t.status <> 'DELETED')
"""


async def create_until_refused(url: str, key: str, agent: str, created: list[str], enough: asyncio.Event) -> None:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=10) as client:
        while True:
            try:
                response = await client.post(f"/agents/name/{agent}/rpc", json={"method": "task/create", "params": {}})
            except httpx.HTTPError:
                return
            if response.status_code != 200:
                return
            created.append(response.json()["result"]["id"])
            if len(created) >= TASKS_BEFORE_KILL:
                enough.set()


async def count_drift(dsn: str) -> tuple[int, int, set[str]]:
    connection = await asyncpg.connect(dsn)
    try:
        unregistered = await connection.fetch(_UNREGISTERED)
        orphaned = await connection.fetch(_ORPHANED)
        kept = {str(row["id"]) for row in await connection.fetch("SELECT id FROM tasks")}
    finally:
        await connection.close()
    return len(unregistered), len(orphaned), kept


@pytest.mark.parametrize("victim", ["server", "database"])
async def test_kill_in_the_middle_of_creates(upgraded_data_dir: Path, victim: str) -> None:
    postgres = await EmbeddedPostgres.start(upgraded_data_dir)
    try:
        with run_remit(upgraded_data_dir) as server:
            world: World = await make_world(postgres.dsn)
            created: list[str] = []
            enough = asyncio.Event()
            writers = [
                asyncio.create_task(create_until_refused(server.url, world.alice_key, "echo", created, enough))
                for _ in range(WRITERS)
            ]
            await asyncio.wait_for(enough.wait(), 60)
            if victim == "server":
                server.kill()
            else:
                assert postgres.pid is not None
                os.kill(postgres.pid, signal.SIGKILL)
            await asyncio.wait_for(asyncio.gather(*writers), 60)
        with run_remit(upgraded_data_dir):
            await postgres.ensure_running()
            unregistered, orphaned, kept = await count_drift(postgres.dsn)
            assert (unregistered, orphaned) == (0, 0)
            assert set(created) <= kept, "what was acknowledged is there"
    finally:
        await postgres.stop()
