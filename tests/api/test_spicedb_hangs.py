"""A SpiceDB that is slow or hangs: a request waits for its time and no longer, and no answer is never an absence."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from support.agent import FakeAgent
from support.graph import World, make_world, open_seeder
from support.outbox import relay, spicedb_settings
from support.server import Server, serve
from support.spicedb_host import SpiceProcess, run_spicedb

from remit.settings import Settings


@pytest.fixture
def spice() -> Iterator[SpiceProcess]:
    with run_spicedb() as running:
        yield running


@pytest.fixture
async def patient(database: str, spice: SpiceProcess) -> AsyncIterator[tuple[Server, World]]:
    """A server and a world of it, that waits for SpiceDB for as long as a test takes."""
    settings = {**spicedb_settings(spice), "authz_timeout": 20.0}
    async with (
        serve(database, **settings) as server,
        open_seeder(database, server.url, Settings(**settings)) as seeder,
    ):
        yield server, await make_world(seeder)


async def test_slow_is_waited_for_and_hanging_is_not(
    database: str, spice: SpiceProcess, patient: tuple[Server, World], fake: FakeAgent
) -> None:
    patient_server, world = patient
    task = await world.alice.make_task(await world.make_agent(fake.url))
    await relay(patient_server)
    assert await world.seed.fetch("SELECT 1 FROM outbox") == [], "else the database knows the answer"
    path = f"/tasks/{task['id']}"
    os.kill(spice.process.pid, signal.SIGSTOP)
    try:
        waiting = [asyncio.create_task(party.get(path)) for party in (world.alice, world.bob)]
        hurried = {**spicedb_settings(spice), "authz_timeout": 0.3}
        async with (
            serve(database, **hurried) as server,
            open_seeder(database, server.url, Settings(**hurried)) as seeder,
        ):
            for party in (world.alice, world.bob, world.mallory):
                there = type(party)(**{**vars(party), "http": seeder.http})
                # Of a tenant without tasks there is nothing to ask.
                for asked in (path,) if party is world.mallory else (path, "/tasks"):
                    answer = await there.get(asked)
                    assert answer.status_code == 503, f"{party.name} {asked}: {answer.text}"
                    assert answer.json()["type"] == "urn:remit:problem:authorization-unavailable"
            refused = await type(world.alice)(**{**vars(world.alice), "http": seeder.http}).delete(path)
            assert refused.status_code == 503
            # Nothing waits for the engine that does not ask it, and this process never heard that it can answer.
            ready = await seeder.http.get("/readyz")
            assert ready.status_code == 503
            assert "no answer" in ready.json()["checks"]["engine"]
        assert not any(one.done() for one in waiting), "a slow engine is waited for"
    finally:
        os.kill(spice.process.pid, signal.SIGCONT)
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 404]
    assert (await world.alice.get("/readyz")).json()["checks"]["engine"] == "ok"
