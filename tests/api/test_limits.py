"""What one principal may ask in a time, and how many streams it may hold; off unless the settings say otherwise."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from support.agent import FakeAgent, by_hand
from support.graph import World, make_world, open_seeder, text
from support.server import serve

from remit.identity.api_keys import insert_key
from remit.settings import Settings


@pytest.fixture
async def limited(database: str) -> AsyncIterator[World]:
    """A world whose people may ask three times an hour."""
    async with serve(database, rate_limit="3/hour") as server, open_seeder(database, server.url) as seeder:
        yield await make_world(seeder)


async def test_a_used_up_rate_says_when_to_come_again(limited: World) -> None:
    answers = [await limited.alice.get("/tasks") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[3]
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["x-should-retry"] == "true"
    assert refused.json()["type"] == "urn:remit:problem:too-many-requests"


async def test_a_rate_is_its_principals_own(limited: World) -> None:
    for _ in range(4):
        await limited.alice.get("/tasks")
    assert (await limited.bob.get("/tasks")).status_code == 200
    assert (await limited.nobody.get("/tasks")).status_code == 401


async def test_two_keys_of_one_principal_share_its_rate(limited: World) -> None:
    alice = limited.alice
    async with limited.seed.database.transaction() as connection:
        key = await insert_key(connection, tenant_id=alice.tenant_id, holder=alice.subject)
    other = replace(alice, key=key.secret)
    for _ in range(3):
        await limited.alice.get("/tasks")
    assert (await other.get("/tasks")).status_code == 429


async def test_a_principal_holds_only_so_many_streams(database: str, fake: FakeAgent) -> None:
    async with serve(database, streams_per_principal=2) as server, open_seeder(database, server.url) as seeder:
        world = await make_world(seeder)
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        fake.handle = by_hand
        path = f"/tasks/{task['id']}/stream"
        params = {"task_id": task["id"], "content": text("x"), "stream": True}
        async with (
            world.seed.http.stream("GET", path, headers=world.alice.headers) as first,
            world.alice.stream_send(agent, task),
        ):
            assert first.status_code == 200
            assert (await world.alice.get(path)).status_code == 429
            body = {"method": "message/send", "params": params}
            assert (await world.alice.post(f"/agents/{agent.id}/rpc", body)).status_code == 429
        async with world.seed.http.stream("GET", path, headers=world.alice.headers) as third:
            assert third.status_code == 200


def test_a_rate_that_cannot_be_read_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="rate_limit"):
        Settings(rate_limit="many")
