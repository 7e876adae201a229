"""What a delivery that fails leaves: the row, its status, one entry, honest counters, and an agent called once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY
from support.agent import FakeAgent
from support.graph import World, make_world, open_seeder
from support.modes import move
from support.outbox import relay, spicedb_settings
from support.processes import free_port
from support.server import Server, serve
from support.spicedb_host import SpiceProcess, run_spicedb

from remit.authz.errors import PreconditionFailed
from remit.authz.model import Resource
from remit.authz.modes import MODES
from remit.authz.projection import take_lease
from remit.authz.remote import Delivery, RemoteError
from remit.authz.spicedb import SpiceDB
from remit.settings import Settings

WAIT_SECONDS = 20
LABELS = {"op": "register", "by": "request"}


@pytest.fixture(scope="module")
def spice() -> Iterator[SpiceProcess]:
    with run_spicedb() as running:
        yield running


@pytest.fixture
async def graph(spice: SpiceProcess) -> AsyncIterator[SpiceDB]:
    client = SpiceDB(grpc.aio.insecure_channel(spice.endpoint), spice.token)
    yield client
    await client.aclose()


@asynccontextmanager
async def installation(database: str, spice: SpiceProcess, **more: Any) -> AsyncIterator[tuple[Server, World]]:
    settings = {**spicedb_settings(spice), **more}
    async with (
        serve(database, **settings) as server,
        open_seeder(database, server.url, Settings(**settings)) as seeder,
    ):
        yield server, await make_world(seeder)


def counted(step: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"task_fgac_dual_write_{step}_total", {**LABELS, **labels}) or 0.0


class Counts:
    """How much each counter has grown since."""

    def __init__(self, **labels: str) -> None:
        self._labels = labels
        self._before = {step: counted(step, **labels) for step in ("attempt", "retry", "success")}

    def since(self) -> dict[str, float]:
        return {step: counted(step, **self._labels) - before for step, before in self._before.items()}


def fail_first(server: Server, times: int, *, transient: bool = True, denied: bool = False) -> list[Delivery]:
    """Have the engine elsewhere fail the first calls for tasks; the list has all of them."""
    deliver: Callable[[Delivery], Awaitable[str | None]] = server.app.state.remote.deliver
    calls: list[Delivery] = []

    async def fail_or_deliver(delivery: Delivery) -> str | None:
        if delivery.resource.type != "task":
            return await deliver(delivery)
        calls.append(delivery)
        if len(calls) <= times:
            name = "Unavailable" if transient else "PermissionDenied"
            raise RemoteError("made to fail", transient=transient, exception_class=name, denied=denied)
        return await deliver(delivery)

    server.app.state.remote.deliver = fail_or_deliver
    return calls


async def test_a_failure_that_passes_is_repeated(
    database: str, spice: SpiceProcess, graph: SpiceDB, fake: FakeAgent
) -> None:
    async with installation(database, spice) as (server, world):
        agent = await world.make_agent(fake.url)
        calls, counts = fail_first(server, 2), Counts()
        task = await world.alice.make_task(agent)
        assert counts.since() == {"attempt": 1, "retry": 2, "success": 1}
        assert len(calls) == 3
        there, _ = await graph.read_resource(Resource("task", task["id"]))
        assert len(there) == 3


async def test_a_failure_that_passes_is_repeated_for_a_deregistration(
    database: str, spice: SpiceProcess, graph: SpiceDB, fake: FakeAgent
) -> None:
    async with installation(database, spice) as (server, world):
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        fail_first(server, 1)
        counts = Counts(op="deregister")
        assert (await world.alice.delete(f"/tasks/{task['id']}")).status_code == 200
        assert counts.since() == {"attempt": 1, "retry": 1, "success": 1}
        assert (await graph.read_resource(Resource("task", task["id"])))[0] == []


async def test_a_failure_that_stays_is_not_repeated_and_is_listed(
    database: str, spice: SpiceProcess, fake: FakeAgent
) -> None:
    async with installation(database, spice) as (server, world):
        agent = await world.make_agent(fake.url, "async")
        calls, counts = fail_first(server, 9, transient=False, denied=True), Counts()
        failures = counted("failure", exception_class="PermissionDenied")
        response = await world.alice.rpc(agent, "task/create", {"name": "refused"})
        assert response.status_code == 403
        assert "made to fail" not in response.text
        task_id = response.json()["data"]["task_id"]
        assert (len(calls), counts.since()) == (1, {"attempt": 1, "retry": 0, "success": 0})
        assert counted("failure", exception_class="PermissionDenied") == failures + 1
        (row,) = await world.seed.fetch("SELECT status FROM tasks WHERE id = $1", task_id)
        assert row["status"] == "RUNNING"
        (entry,) = await world.seed.fetch("SELECT * FROM outbox WHERE resource_id = $1", task_id)
        assert (entry["dead_at"] is not None, entry["last_error"]) == (True, "PermissionDenied")
        assert fake.calls == []


async def test_an_engine_that_hangs_while_it_is_looked_into_leaves_the_change_to_the_worker(
    database: str, spice: SpiceProcess, graph: SpiceDB, fake: FakeAgent
) -> None:
    async with installation(database, spice) as (server, world):
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        remote = server.app.state.remote
        deliver, hangs = remote.deliver, asyncio.Event()

        async def refuse_then_hang(delivery: Delivery) -> str | None:
            if delivery.delivered is not None and not hangs.is_set():
                hangs.set()
                raise PreconditionFailed("another version")
            await asyncio.Event().wait()
            return None

        remote.deliver = refuse_then_hang
        assert (await world.alice.share(task, world.bob, "viewer")).status_code == 200
        assert hangs.is_set()
        remote.deliver = deliver
        await relay(server)
        assert await world.seed.fetch("SELECT 1 FROM outbox WHERE resource_id = $1", task["id"]) == []
        there, _ = await graph.read_resource(Resource("task", task["id"]))
        assert "viewer" in {one.relation for one in there}


async def test_exhaustion_keeps_the_row_and_defers(
    database: str, spice: SpiceProcess, graph: SpiceDB, fake: FakeAgent
) -> None:
    async with installation(database, spice) as (server, world):
        agent = await world.make_agent(fake.url, "async")
        calls, counts = fail_first(server, 4), Counts()
        failures = counted("failure", exception_class="Unavailable")
        task = await world.alice.make_task(agent)
        assert task["status"] == "RUNNING"
        assert len(fake.calls) == 1
        assert len(calls) == 4
        assert counts.since() == {"attempt": 1, "retry": 3, "success": 0}
        assert counted("failure", exception_class="Unavailable") == failures + 1
        assert len(await world.seed.fetch("SELECT 1 FROM outbox WHERE resource_id = $1", task["id"])) == 1
        await relay(server)
        assert await world.seed.fetch("SELECT 1 FROM outbox WHERE resource_id = $1", task["id"]) == []
        assert len((await graph.read_resource(Resource("task", task["id"])))[0]) == 3
        assert len(fake.calls) == 1


async def test_exhaustion_is_an_error_that_names_the_task_where_that_is_asked(
    database: str, spice: SpiceProcess, fake: FakeAgent
) -> None:
    async with installation(database, spice, authz_on_register_failure="error") as (server, world):
        agent = await world.make_agent(fake.url, "async")
        fail_first(server, 4)
        response = await world.alice.rpc(agent, "task/create", {"name": "later"})
        assert response.status_code == 503
        assert response.headers["x-should-retry"] == "false"
        task_id = response.json()["data"]["task_id"]
        (row,) = await world.seed.fetch("SELECT id, status FROM tasks WHERE name = 'later'")
        assert row == {"id": task_id, "status": "RUNNING"}
        assert fake.calls == []
        await relay(server)
        await relay(server)
        assert [call.method for call in fake.calls] == ["task/create"]


async def test_a_repeat_by_name_delivers_and_calls_the_agent(
    database: str, spice: SpiceProcess, fake: FakeAgent
) -> None:
    async with installation(database, spice, authz_on_register_failure="error") as (server, world):
        agent = await world.make_agent(fake.url, "async")
        fail_first(server, 4)
        first = await world.alice.rpc(agent, "task/create", {"name": "again"})
        assert first.status_code == 503
        again = await world.alice.rpc(agent, "task/create", {"name": "again"})
        assert again.status_code == 200
        assert again.json()["result"]["id"] == first.json()["data"]["task_id"]
        await relay(server)
        assert [call.method for call in fake.calls] == ["task/create"]


async def test_deleting_a_missing_name_is_the_same_404_in_every_mode_with_and_without_an_engine_elsewhere(
    database: str, spice: SpiceProcess, own_server: Server, own_world: World
) -> None:
    told = {}
    async with installation(database, spice) as (server, elsewhere):
        for engine, at, world in (("embedded", own_server, own_world), ("spicedb", server, elsewhere)):
            for mode in reversed(MODES):
                await move(world.seed, world.tenant_id, mode, at)
                answer = await world.alice.delete("/tasks/name/nowhere")
                assert answer.status_code == 404
                told[engine, mode] = {**answer.json(), "request_id": None}
    assert len(told) == 2 * len(MODES)
    assert all(one == told["embedded", "off"] for one in told.values())


async def test_a_tenant_that_registers_nothing_calls_nobody(
    database: str, spice: SpiceProcess, fake: FakeAgent
) -> None:
    """Then one of two tenants is switched on: `success` is counted there and nowhere else."""
    async with installation(database, spice) as (server, world):
        mine = await world.make_agent(fake.url)
        theirs = await world.seed.make_agent(world.mallory.tenant_id, fake.url)
        for tenant_id in (world.tenant_id, world.mallory.tenant_id):
            await move(world.seed, tenant_id, "off", server)
        calls, counts = fail_first(server, 0), Counts()
        await world.alice.make_task(mine)
        task = await world.mallory.make_task(theirs)
        assert (calls, counts.since()) == ([], {"attempt": 0, "retry": 0, "success": 0})
        # Nor where a deliverer died, and so may have told of it: there was nothing to tell.
        async with server.database.connection() as connection:
            assert await take_lease(connection, Resource("task", task["id"]), timedelta(0))
        assert (await world.mallory.delete(f"/tasks/{task['id']}")).status_code == 200
        assert (calls, counts.since()) == ([], {"attempt": 0, "retry": 0, "success": 0})
        assert await world.seed.fetch("SELECT * FROM outbox WHERE resource_id = $1", task["id"]) == []

        await move(world.seed, world.tenant_id, "write", server)
        registered = await world.alice.make_task(mine)
        await world.mallory.make_task(theirs)
        assert {**counts.since(), "retry": 0} == {"attempt": 1, "retry": 0, "success": 1}
        assert {delivery.resource.id for delivery in calls} == {registered["id"]}


class Packets(asyncio.DatagramProtocol):
    """A DogStatsD that remembers what it was sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def datagram_received(self, data: bytes, _: Any) -> None:
        self.seen += data.decode().splitlines()


async def test_a_dogstatsd_gets_the_dotted_names(database: str, spice: SpiceProcess, fake: FakeAgent) -> None:
    port = free_port()
    loop = asyncio.get_running_loop()
    transport, packets = await loop.create_datagram_endpoint(Packets, local_addr=("127.0.0.1", port))
    async with installation(database, spice, statsd=f"127.0.0.1:{port}") as (server, world):
        agent = await world.make_agent(fake.url)
        fail_first(server, 1)
        task = await world.alice.make_task(agent)
        fail_first(server, 9, transient=False)
        await world.alice.delete(f"/tasks/{task['id']}")
        async with asyncio.timeout(WAIT_SECONDS):
            while len(packets.seen) < 5:  # noqa: ASYNC110 - datagrams come when they come
                await asyncio.sleep(0.01)
    transport.close()
    seen = [packet for packet in packets.seen if packet.startswith("task_")]
    assert seen == [
        "task_fgac_dual_write.attempt:1|c|#op:register",
        "task_fgac_dual_write.retry:1|c|#op:register",
        "task_fgac_dual_write.success:1|c|#op:register",
        "task_fgac_dual_write.attempt:1|c|#op:deregister",
        "task_fgac_dual_write.failure:1|c|#op:deregister,exception_class:PermissionDenied",
    ]
