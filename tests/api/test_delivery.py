"""A projection in a real SpiceDB follows the rows: what is registered, shared and deleted, at once or later."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from authzed.api.v1 import WriteRelationshipsRequest
from support.agent import FakeAgent
from support.graph import Json, Seeder, World, make_world, open_seeder
from support.outbox import relay, spicedb_settings
from support.server import Server, serve
from support.spicedb_host import SpiceProcess, run_spicedb

from remit.authz.errors import PreconditionFailed
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.remote import Question, RemoteError
from remit.authz.spicedb import SpiceDB
from remit.authz.spicedb_wire import to_wire, touch
from remit.settings import Settings

WAIT_SECONDS = 20


@pytest.fixture
def spice() -> Iterator[SpiceProcess]:
    with run_spicedb() as running:
        yield running


@pytest.fixture
async def graph(spice: SpiceProcess) -> AsyncIterator[SpiceDB]:
    """What an operator sees of SpiceDB."""
    client = SpiceDB(grpc.aio.insecure_channel(spice.endpoint), spice.token)
    yield client
    await client.aclose()


@pytest.fixture
async def spiced(database: str, spice: SpiceProcess) -> AsyncIterator[tuple[Server, World]]:
    """A server with a SpiceDB beside it, and a world there."""
    settings = spicedb_settings(spice)
    async with (
        serve(database, **settings) as server,
        open_seeder(database, server.url, Settings(**settings)) as seeder,
    ):
        yield server, await make_world(seeder)


async def read(graph: SpiceDB, type: str, id: str) -> set[str]:
    relationships, _ = await graph.read_resource(Resource(type, id))
    return {f"{one.relation}@{one.subject}" for one in relationships}


async def token_of(seed: Seeder, task_id: str) -> str:
    (row,) = await seed.fetch("SELECT authz_zedtoken FROM tasks WHERE id = $1", task_id)
    token: str = row["authz_zedtoken"]
    return token


async def outbox(seed: Seeder, resource_id: str) -> list[Json]:
    return await seed.fetch("SELECT * FROM outbox WHERE resource_id = $1", resource_id)


async def test_a_new_task_is_registered_whole(spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent) -> None:
    _, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    expected = {f"tenant@tenant:{world.tenant_id}", f"parent_agent@agent:{agent.id}", "owner@user:alice"}
    assert await read(graph, "task", task["id"]) == expected
    assert await outbox(world.seed, task["id"]) == []
    stored = await world.seed.fetch(
        "SELECT authz_zedtoken, updated_at, created_at FROM tasks WHERE id = $1", task["id"]
    )
    assert stored[0]["authz_zedtoken"].startswith("r1.")
    assert stored[0]["updated_at"] == stored[0]["created_at"]


async def test_a_service_account_is_its_owner(spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent) -> None:
    _, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.bot.make_task(agent)
    assert "owner@service_account:bot" in await read(graph, "task", task["id"])


async def test_what_nobody_made_is_registered_without_an_owner(
    spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent
) -> None:
    server, world = spiced
    agent = await world.make_agent(fake.url)  # by the operator
    creators = "creator_user_id, creator_service_account_id, creator_agent_id"
    (row,) = await world.seed.fetch(f"SELECT {creators} FROM agents WHERE id = $1", agent.id)
    assert set(row.values()) == {None}
    await relay(server)
    there = await read(graph, "agent", agent.id)
    assert f"tenant@tenant:{world.tenant_id}" in there
    assert not any(fact.startswith("owner@") for fact in there)


async def test_a_share_and_a_revoke_are_delivered_like_the_rest(
    spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent
) -> None:
    _, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.bob, "viewer")
    assert "viewer@user:bob" in await read(graph, "task", task["id"])
    await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
    assert "viewer@user:bob" not in await read(graph, "task", task["id"])
    assert await outbox(world.seed, task["id"]) == []


async def test_a_deleted_task_is_deregistered(spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent) -> None:
    _, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    assert (await world.alice.delete(f"/tasks/{task['id']}")).status_code == 200
    assert await read(graph, "task", task["id"]) == set()


async def test_names_that_spicedb_does_not_take_are_encoded(
    spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent
) -> None:
    _, world = spiced
    agent = await world.make_agent(fake.url)
    carol = await world.seed.make_subject(world.tenant_id, "carol@example.com — ünï")
    task = await carol.make_task(agent)
    assert f"owner@user:{carol.name}" in await read(graph, "task", task["id"])


async def test_what_an_outage_left_is_delivered_by_the_worker(
    database: str, graph: SpiceDB, spice: SpiceProcess, fake: FakeAgent
) -> None:
    settings = spicedb_settings(spice)
    away = {**settings, "spicedb_endpoint": "127.0.0.1:1"}
    async with serve(database, **away) as server, open_seeder(database, server.url, Settings(**away)) as seeder:
        world = await make_world(seeder)
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        assert len(await outbox(seeder, task["id"])) == 1
        await graph.write_schema(server.app.state.engine.schema)
        server.app.state.delivery.remote = graph
        await relay(server)
        assert "owner@user:alice" in await read(graph, "task", task["id"])
        assert await seeder.fetch("SELECT * FROM outbox") == []


async def test_a_write_that_arrives_late_changes_nothing(
    spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent
) -> None:
    server, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    sent = []
    deliver = server.app.state.remote.deliver

    async def note(delivery: Any) -> Any:
        sent.append(delivery)
        return await deliver(delivery)

    server.app.state.remote.deliver = note
    await world.alice.share(task, world.bob, "viewer")
    await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
    late, _ = sent
    with pytest.raises(PreconditionFailed):
        await graph.deliver(late)
    assert "viewer@user:bob" not in await read(graph, "task", task["id"])


async def test_a_write_whose_answer_was_lost_is_found_out(
    spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent
) -> None:
    server, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    deliver = server.app.state.remote.deliver
    lost: list[Any] = []

    async def lose_the_first_answer(delivery: Any) -> Any:
        token = await deliver(delivery)
        if not lost:
            lost.append(delivery)
            raise RemoteError("lost", transient=True, exception_class="Unavailable")
        return token

    server.app.state.remote.deliver = lose_the_first_answer
    await world.alice.share(task, world.bob, "viewer")
    assert len(lost) == 1
    assert await outbox(world.seed, task["id"]) == []
    assert "viewer@user:bob" in await read(graph, "task", task["id"])
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 200
    lost.clear()
    before = await token_of(world.seed, task["id"])
    await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
    assert len(lost) == 1
    assert "viewer@user:bob" not in await read(graph, "task", task["id"])
    # Without the token of the lost answer SpiceDB may answer from a moment at which he still had it.
    assert await token_of(world.seed, task["id"]) != before
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 404


@contextmanager
def arriving_unknown(server: Server, error: Exception) -> Iterator[None]:
    """Every delivery arrives, and ends with an error instead of its answer."""
    remote = server.app.state.remote
    deliver = remote.deliver

    async def deliver_and_fail(delivery: Any) -> Any:
        await deliver(delivery)
        raise error

    remote.deliver = deliver_and_fail
    try:
        yield
    finally:
        remote.deliver = deliver


async def test_a_write_that_nobody_knows_of_is_undone_with_its_relationship(
    spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent
) -> None:
    """A share arrives, no answer to it does, and it is taken back: locally nothing is left to say, there everything."""
    server, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    with arriving_unknown(server, RemoteError("lost", transient=True, exception_class="Lost")):
        await world.alice.share(task, world.bob, "viewer")
    assert "viewer@user:bob" in await read(graph, "task", task["id"])
    await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
    assert await outbox(world.seed, task["id"]) == []
    assert "viewer@user:bob" not in await read(graph, "task", task["id"])
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 404


async def test_a_deliverer_that_died_between_write_and_record_is_found_out(
    spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent
) -> None:
    server, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    with arriving_unknown(server, KeyError("as if the process had ended here")):
        assert (await world.alice.share(task, world.bob, "viewer")).status_code == 500
    await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
    await world.seed.execute("UPDATE projections SET leased_until = now() - interval '1 second'")
    await relay(server)
    assert await outbox(world.seed, task["id"]) == []
    assert "viewer@user:bob" not in await read(graph, "task", task["id"])


async def test_what_others_wrote_is_left_alone(spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent) -> None:
    _, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    foreign = Relationship(Resource("task", task["id"]), "viewer", Subject("user", "of-another-system"))
    await graph._client.WriteRelationships(WriteRelationshipsRequest(updates=[touch(to_wire(foreign))]), **graph._call)
    await world.alice.share(task, world.bob, "editor")
    await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
    assert "viewer@user:of-another-system" in await read(graph, "task", task["id"])


async def test_spicedb_answers_as_the_embedded_engine_does(
    spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent
) -> None:
    server, world = spiced
    agent = await world.make_agent(fake.url, owner=world.alice)
    task = await world.bob.make_task(agent)
    await relay(server)
    people = [world.alice, world.bob, world.root, world.viewer, world.bot]
    permissions = ["read", "update", "cancel", "delete", "share"]
    questions = [
        Question(dataclasses.replace(party.subject, id=party.name), permission, Resource("task", task["id"]))
        for party in people
        for permission in permissions
    ]
    answers = await graph.check(questions)
    async with server.database.connection() as connection:
        own = [
            await server.app.state.engine.check(connection, party.subject, permission, Resource("task", task["id"]))
            for party in people
            for permission in permissions
        ]
    assert answers == own
    assert True in own
    assert False in own
    page = await graph.lookup_resources(Subject("user", "bob"), "read", "task")
    assert page.ids == (task["id"],)


async def test_the_embedded_engine_owes_nothing(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.bob, "viewer")
    assert await world.seed.fetch("SELECT * FROM outbox WHERE tenant_id = $1", world.tenant_id) == []


async def test_two_deliverers_do_not_meet(spiced: tuple[Server, World], graph: SpiceDB, fake: FakeAgent) -> None:
    server, world = spiced
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    deliver = server.app.state.remote.deliver
    inside = 0
    most = 0

    async def count(delivery: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.02)
        try:
            return await deliver(delivery)
        finally:
            inside -= 1

    server.app.state.remote.deliver = count
    people = [await world.seed.make_subject(world.tenant_id, f"p{n}") for n in range(8)]
    await asyncio.gather(*(world.alice.share(task, person, "viewer") for person in people))
    assert most == 1
    await relay(server)
    there = await read(graph, "task", task["id"])
    assert {f"viewer@user:p{n}" for n in range(8)} <= there
