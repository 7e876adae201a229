"""A SpiceDB that is slow or hangs: a request waits for its time and no longer, and no answer is never an absence.

And one that was away is asked again as soon as it is back.
"""

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

from remit.authz.remote import RemoteError
from remit.authz.schema import parse_schema
from remit.authz.spicedb import SpiceDB
from remit.settings import Settings

# By gRPC's own back-off they take nine seconds and the next one six more; with the product's they take one.
ATTEMPTS = 5
PATIENCE_SECONDS = 5
SCHEMA = parse_schema("definition user {}")


@pytest.fixture(scope="module")
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


class Line:
    """The way to a SpiceDB; while it is cut, whoever comes is hung up on."""

    def __init__(self, endpoint: str) -> None:
        self._host, _, self._port = endpoint.rpartition(":")
        self.cut = True
        self.attempts = 0
        self._under_way: list[asyncio.Task[None]] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            self.attempts += 1
            writer.close()
        else:
            self._under_way.append(asyncio.create_task(self._join(reader, writer)))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._host, int(self._port))
        await asyncio.gather(self._pass_on(reader, there[1]), self._pass_on(there[0], writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    async def aclose(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


async def test_one_that_was_away_is_asked_again_as_soon_as_it_is_back(spice: SpiceProcess) -> None:
    line = Line(spice.endpoint)
    server = await asyncio.start_server(line.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    remote = SpiceDB.open(Settings(**{**spicedb_settings(spice), "spicedb_endpoint": f"{host}:{port}"}))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while line.attempts < ATTEMPTS:
                with pytest.raises(RemoteError) as away:
                    await remote.find_schema_change(SCHEMA)
                assert away.value.transient
                await asyncio.sleep(0.02)
        line.cut = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await remote.find_schema_change(SCHEMA)
                    break
                except RemoteError:
                    await asyncio.sleep(0.02)
    finally:
        await remote.aclose()
        server.close()
        await line.aclose()
