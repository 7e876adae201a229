"""Live updates that agents publish to Redis: in order, once, and never a condition for anything."""

import asyncio
import json
from collections.abc import AsyncIterator
from signal import SIGKILL, SIGSTOP
from typing import Any

import pytest
from redis.asyncio import Redis
from support.agent import FakeAgent
from support.graph import AgentParty, Json, World, make_world, open_seeder, text
from support.processes import free_port
from support.redis_server import RedisServer, run_redis
from support.server import serve
from support.streams import Frames, kind, open_stream

from remit.errors import Unavailable
from remit.ids import new_id

WAIT_SECONDS = 20


class DatabaseAway:
    """No connection is to be had."""

    def connection(self) -> None:
        raise Unavailable("The database cannot be reached; try again.")


@pytest.fixture
def redis_server() -> Any:
    """A Redis of the test's own, since tests stop and kill it."""
    with run_redis() as running:
        yield running


@pytest.fixture
async def redis_world(database: str, redis_server: RedisServer) -> AsyncIterator[World]:
    """A world on a server that uses the Redis."""
    async with (
        serve(database, stream_ping=0.2, redis_url=redis_server.url) as server,
        open_seeder(database, server.url) as seeder,
    ):
        yield await make_world(seeder)


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator["Redis"]:
    """What an agent's process has."""
    client = Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


async def tell(redis: "Redis", task_id: str, type: str, message: Json | None, **more: Any) -> None:
    """Publish as the SDK does."""
    event = {"type": type, "index": None, "parent_task_message": message, **more}
    await redis.xadd(f"task:{task_id}", {"data": json.dumps(event)}, maxlen=10_000)


async def write(agent: AgentParty, task_id: str, said: str, status: str | None = None) -> Json:
    body = {"task_id": task_id, "content": text(said, "agent"), "streaming_status": status}
    response = await agent.post("/messages", body)
    assert response.status_code == 200, response.text
    message: Json = response.json()
    return message


async def entries_of(redis: "Redis", task_id: str, count: int) -> Any:
    """The entries of a task in Redis, once there are so many."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            entries: Any = await redis.xrange(f"task:{task_id}")
            if len(entries) >= count:
                return entries
            await asyncio.sleep(0.02)


async def finish(agent: AgentParty, frames: Frames, task_id: str) -> list[str]:
    await agent.post(f"/tasks/{task_id}/complete")
    return [kind(event) for event in await frames.rest()]


async def test_a_streamed_message_is_seen_once(redis_world: World, redis: "Redis", fake: FakeAgent) -> None:
    agent = await redis_world.make_agent(fake.url)
    task = await redis_world.alice.make_task(agent)
    async with open_stream(redis_world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        message = await write(agent, task["id"], "", "IN_PROGRESS")
        await tell(redis, task["id"], "start", message, content=message["content"])
        for piece in ("a", "b"):
            await tell(redis, task["id"], "delta", message, delta={"type": "text", "text_delta": piece})
        await tell(redis, task["id"], "done", message)
        body = {"task_id": task["id"], "content": text("ab", "agent"), "streaming_status": "DONE"}
        await agent.put(f"/messages/{message['id']}", body)
        assert await finish(agent, frames, task["id"]) == ["start", "delta", "delta", "done", "task_updated"]


@pytest.mark.parametrize("first", ["rest", "redis"])
async def test_a_whole_message_is_seen_once_in_either_order(
    redis_world: World, redis: "Redis", fake: FakeAgent, first: str
) -> None:
    agent = await redis_world.make_agent(fake.url)
    task = await redis_world.alice.make_task(agent)
    async with open_stream(redis_world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        message = await write(agent, task["id"], "whole")
        if first == "rest":
            assert kind(await frames.next()) == "full"
        await tell(redis, task["id"], "full", message, content=message["content"])
        assert await finish(agent, frames, task["id"]) == ["full"] * (first == "redis") + ["task_updated"]


async def test_an_agent_without_redis_is_seen_all_the_same(redis_world: World, fake: FakeAgent) -> None:
    agent = await redis_world.make_agent(fake.url)
    task = await redis_world.alice.make_task(agent)
    async with open_stream(redis_world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        message = await write(agent, task["id"], "one")
        body = {"task_id": task["id"], "content": text("two", "agent")}
        await agent.put(f"/messages/{message['id']}", body)
        assert await finish(agent, frames, task["id"]) == ["full", "full", "task_updated"]


async def test_what_was_published_before_the_stream_was_opened_is_not_shown(
    redis_world: World, redis: "Redis", fake: FakeAgent
) -> None:
    agent = await redis_world.make_agent(fake.url)
    task = await redis_world.alice.make_task(agent)
    await tell(redis, task["id"], "delta", {"id": "m"}, delta={"type": "text", "text_delta": "old"})
    async with open_stream(redis_world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        await tell(redis, task["id"], "delta", {"id": "m"}, delta={"type": "text", "text_delta": "new"})
        event = await frames.next()
        assert event is not None
        assert event["delta"]["text_delta"] == "new"


async def test_what_an_agent_publishes_is_only_for_readers_of_its_task(
    redis_world: World, redis: "Redis", fake: FakeAgent
) -> None:
    agent = await redis_world.make_agent(fake.url)
    task = await redis_world.alice.make_task(agent)
    other = await redis_world.bob.make_task(agent)
    async with (
        open_stream(redis_world.alice, f"/tasks/{task['id']}/stream") as mine,
        open_stream(redis_world.bob, f"/tasks/{other['id']}/stream") as his,
    ):
        await mine.next(), await his.next()
        await tell(redis, task["id"], "delta", {"id": "m"}, delta={"type": "text", "text_delta": "secret"})
        assert kind(await mine.next()) == "delta"
        assert await finish(agent, his, other["id"]) == ["task_updated"]


async def test_the_servers_own_updates_go_to_redis_and_are_not_read_back(
    redis_world: World, redis: "Redis", fake: FakeAgent
) -> None:
    agent = await redis_world.make_agent(fake.url)
    task = await redis_world.alice.make_task(agent)
    async with open_stream(redis_world.alice, f"/tasks/{task['id']}/stream") as frames:
        await frames.next()
        await redis_world.alice.send(agent, task, "hello")
        await write(agent, task["id"], "the agent tells this itself")
        seen = await finish(agent, frames, task["id"])
    entries = await entries_of(redis, task["id"], len(seen) - 1)
    told = [json.loads(fields[b"data"])["type"] for _, fields in entries]
    assert told[-1] == "task_updated"
    assert sorted(told) == sorted([*seen[:-2], "task_updated"]), "all but what the agent wrote over REST"
    assert 0 < await redis.ttl(f"task:{task['id']}") <= 3600


async def test_a_redis_that_hangs_or_dies_costs_no_request(
    redis_world: World, redis_server: RedisServer, fake: FakeAgent
) -> None:
    agent = await redis_world.make_agent(fake.url)
    task = await redis_world.alice.make_task(agent)
    for end in (SIGSTOP, SIGKILL):
        redis_server.process.send_signal(end)
        async with open_stream(redis_world.alice, f"/tasks/{task['id']}/stream") as frames:
            assert kind(await frames.next()) == "connected"
            response = await redis_world.alice.send(agent, task, "hello")
            assert response.status_code == 200
            assert kind(await frames.next()) == "full"


async def test_live_updates_come_again_when_redis_does(database: str, fake: FakeAgent) -> None:
    port = free_port()
    async with (
        serve(database, stream_ping=0.2, redis_url=f"redis://127.0.0.1:{port}") as server,
        open_seeder(database, server.url) as seeder,
    ):
        world = await make_world(seeder)
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        async with open_stream(world.alice, f"/tasks/{task['id']}/stream") as frames:
            assert kind(await frames.next()) == "connected"
            with run_redis(port) as late:
                client = Redis.from_url(late.url)
                reading = asyncio.create_task(frames.next())
                async with asyncio.timeout(WAIT_SECONDS):
                    while not reading.done():
                        delta = {"type": "text", "text_delta": "x"}
                        await tell(client, task["id"], "delta", {"id": "m"}, delta=delta)
                        await asyncio.sleep(0.05)
                assert kind(reading.result()) == "delta"
                await client.aclose()


async def test_what_redis_brought_waits_while_the_table_cannot_be_read(
    database: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(database, redis_url=redis_server.url) as server:
        hub, task_id = server.app.state.hub, new_id()
        async with hub.open_reader(task_id) as reader:
            hub._on_redis(task_id, '{"type": "delta"}')
            with monkeypatch.context() as patch:
                patch.setattr(hub, "_database", DatabaseAway())
                with pytest.raises(Unavailable):
                    await hub.read_now(reader)
            assert [entry.data for entry in await hub.read_now(reader)] == ['{"type": "delta"}']
            assert await hub.read_now(reader) == []
