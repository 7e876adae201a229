"""The database goes away: 503 that says when to try again, and service as before once it is back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from support.agent import FakeAgent, by_hand, full
from support.graph import World, make_world, open_seeder, text
from support.server import Server, serve

from remit.db.embedded import EmbeddedPostgres
from remit.migrations.run import upgrade

WAIT_SECONDS = 30
END_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
ENDED_WAITING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def check_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["retry-after"] == "1"
    assert response.headers["x-should-retry"] == "true"
    assert response.json()["type"] == "urn:remit:problem:unavailable"
    for secret in ("postgres", "socket", "/tmp", "Connection"):
        assert secret not in response.text


async def test_connections_that_were_cut_are_made_anew(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url)
    task = await own_world.alice.make_task(agent)
    paths = (f"/tasks/{task['id']}", "/tasks", "/me") * 3
    for _ in range(20):
        await own_world.seed.execute(END_ALL)
        # Some find their connection gone, some are the ones who notice.
        for answer in await asyncio.gather(*(own_world.alice.get(path) for path in paths)):
            if answer.status_code != 200:
                check_unavailable(answer)
    assert (await own_world.alice.get("/me")).status_code == 200


async def test_a_connection_that_is_cut_in_the_middle_is_503(own_server: Server, own_world: World) -> None:
    """One backend waits for a lock, and is ended."""
    agent = await own_world.make_agent("http://127.0.0.1:9")
    task = await own_world.alice.make_task(agent)
    async with own_world.seed.database.transaction() as connection:
        await connection.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", task["id"])
        waiting = [
            asyncio.create_task(own_world.alice.put(f"/tasks/{task['id']}", {"task_metadata": {"a": 1}})),
            asyncio.create_task(own_world.alice.rpc(agent, "task/create", {"name": "n"})),
        ]
        await own_world.seed.wait_for_rows(1, ENDED_WAITING)
        cut, created = await asyncio.gather(*waiting)
    check_unavailable(cut)
    assert created.status_code == 200
    assert (await own_world.alice.get(f"/tasks/{task['id']}")).json()["task_metadata"] is None


@pytest.fixture
async def world(data_dir: Path) -> AsyncIterator[World]:
    """A world on a database server of its own."""
    postgres = await EmbeddedPostgres.start(data_dir, options={"fsync": "off"})
    try:
        upgrade(postgres.dsn)
        async with (
            serve(postgres.dsn, pool_timeout=1.0, stream_ping=0.2) as server,
            open_seeder(postgres.dsn, server.url) as seed,
        ):
            world = await make_world(seed)
            world.postgres = postgres  # type: ignore[attr-defined]  # for the tests of this file alone
            yield world
    finally:
        await postgres.ensure_running()
        await postgres.stop()


async def kill(postgres: EmbeddedPostgres) -> None:
    pid = postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if postgres.pid is None:
                return
            await asyncio.sleep(0.02)


async def test_service_goes_on_when_the_database_is_back(world: World, fake: FakeAgent) -> None:
    postgres: EmbeddedPostgres = world.postgres  # type: ignore[attr-defined]  # set by the fixture
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent, "kept")
    fake.handle = by_hand
    sending = asyncio.create_task(world.alice.send(agent, task, "before"))
    call = await fake.next_call()
    stream = world.seed.http.stream("GET", f"/tasks/{task['id']}/stream", headers=world.alice.headers)
    async with stream as streaming:
        lines = streaming.aiter_lines()
        assert "connected" in await anext(lines)
        await kill(postgres)
        for response in (
            await world.alice.get("/tasks"),
            await world.alice.get("/me"),
            await world.alice.put(f"/tasks/{task['id']}", {}),
            await world.alice.post("/agents/register", {"name": "a", "acp_url": fake.url}),
        ):
            check_unavailable(response)
        refused = await world.alice.rpc(agent, "task/create", id=4)
        check_unavailable(refused)
        assert refused.json()["error"]["code"] == -32603
        assert (await world.nobody.get("/healthz")).status_code == 200
        assert (await world.nobody.get("/readyz")).status_code == 503
        await call.send(full("answer"))
        await call.finish()
        lost = await sending
        assert (lost.status_code, lost.headers["x-should-retry"]) == (503, "false"), "it would be a second message"

        await postgres.ensure_running()
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if (await world.alice.get("/me")).status_code == 200:
                    break
                await asyncio.sleep(0.1)
        assert (await world.nobody.get("/readyz")).status_code == 200
        assert (await world.alice.get("/tasks/name/kept")).json()["id"] == task["id"]
        # The stream goes on, and so does the process's listening for news.
        await world.alice.post("/messages", {"task_id": task["id"], "content": text("after")})
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in lines:
                if "after" in line:
                    break
            else:
                raise AssertionError("the stream ended")
    fresh = await world.alice.make_task(agent)
    sending = asyncio.create_task(world.alice.send(agent, fresh, "again"))
    call = await fake.next_call()
    await call.send(full("answer"))
    await call.finish()
    assert (await sending).json()["error"] is None
