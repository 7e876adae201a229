"""The live stream of a task: what comes, how it is framed, when it ends, and who may go on reading."""

import asyncio

import pytest
from support.agent import FakeAgent
from support.graph import Json, Party, World, make_world, open_seeder, text
from support.server import Server, serve
from support.streams import Frames, kind, open_stream

WAIT_SECONDS = 20


async def say(party: Party, task: Json, words: str) -> None:
    response = await party.post("/messages", {"task_id": task["id"], "content": text(words)})
    assert response.status_code == 200


@pytest.fixture
async def task(world: World, fake: FakeAgent) -> Json:
    world.agents.append(await world.make_agent(fake.url, "async"))
    return await world.alice.make_task(world.agents[0], "streamed")


@pytest.mark.parametrize("by_name", [False, True])
async def test_a_stream_shows_messages_and_updates_until_the_task_ends(world: World, task: Json, by_name: bool) -> None:
    path = "/tasks/name/streamed/stream" if by_name else f"/tasks/{task['id']}/stream"
    async with open_stream(world.alice, path) as frames:
        headers = frames.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
        assert await frames.next() == {"type": "connected", "taskId": task["id"]}
        body = {"task_id": task["id"], "content": text("growing"), "streaming_status": "IN_PROGRESS"}
        message = (await world.agents[0].post("/messages", body)).json()
        begun = await frames.next()
        assert kind(begun) == "start"
        assert begun is not None
        assert (begun["index"], begun["parent_task_message"]) == (None, message)
        final = {"task_id": task["id"], "content": text("grown"), "streaming_status": "DONE"}
        await world.agents[0].put(f"/messages/{message['id']}", final)
        whole, end = await frames.next(), await frames.next()
        assert (kind(whole), kind(end)) == ("full", "done")
        assert whole is not None
        assert whole["content"]["content"] == "grown"
        await world.alice.put(f"/tasks/{task['id']}", {"task_metadata": {"a": 1}})
        updated = await frames.next()
        assert updated is not None
        assert (kind(updated), updated["task"]["task_metadata"]) == ("task_updated", {"a": 1})
        await world.alice.post(f"/tasks/{task['id']}/complete")
        last = await frames.next()
        assert last is not None
        assert (kind(last), last["task"]["status"]) == ("task_updated", "COMPLETED")
        assert await frames.next() is None
    assert frames.ids == []


async def test_a_stream_is_live_only(world: World, task: Json) -> None:
    await say(world.alice, task, "before")
    await asyncio.sleep(0.2)  # what was said is written a moment later
    async with open_stream(world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        await say(world.alice, task, "after")
        event = await frames.next()
        assert event is not None
        assert event["content"]["content"] == "after"


async def test_an_answer_streams_to_the_tasks_readers(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.bob, "viewer")
    async with open_stream(world.bob, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        async with world.alice.stream_send(agent, task) as lines:
            assert [line["result"]["type"] async for line in lines] == ["start", "delta", "delta", "done"]
        seen = [kind(await frames.next()) for _ in range(5)]
    assert seen == ["full", "start", "delta", "delta", "done"]


async def test_a_task_that_has_ended_shows_what_is_kept(own_world: World, fake: FakeAgent) -> None:
    world = own_world  # of one process: what is written by way of two is kept as they write it
    task = await world.alice.make_task(await world.make_agent(fake.url, "async"))
    for n in range(12):
        await say(world.alice, task, f"m{n}")
    await world.alice.post(f"/tasks/{task['id']}/complete")
    await asyncio.sleep(0.2)  # as above
    async with open_stream(world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        kept = await frames.rest()
    assert [event["content"]["content"] for event in kept] == [f"m{n}" for n in range(10)]


async def test_a_stream_goes_on_after_the_last_event_it_is_told(own_world: World, fake: FakeAgent) -> None:
    world = own_world  # as above
    task = await world.alice.make_task(await world.make_agent(fake.url, "async"))
    path = f"/tasks/{task['id']}/stream"
    async with open_stream(world.alice, path, **{"last-event-id": "0"}) as frames:
        assert kind(await frames.next()) == "connected"
        for n in range(3):
            await say(world.alice, task, f"m{n}")
        for _ in range(3):
            await frames.next()
        assert len(frames.ids) == 3
    await say(world.alice, task, "m3")
    await asyncio.sleep(0.2)  # as above
    async with open_stream(world.alice, path, **{"last-event-id": str(frames.ids[1])}) as resumed:
        assert kind(await resumed.next()) == "connected"
        await say(world.alice, task, "m4")
        events = [await resumed.next() for _ in range(3)]
    assert [event["content"]["content"] for event in events if event] == ["m2", "m3", "m4"]
    assert resumed.ids == sorted(resumed.ids)
    assert resumed.ids[0] == frames.ids[2]


@pytest.mark.parametrize("told", ["nonsense", "-1", "1e3", "9" * 30, "9" * 5000, "\u00b2"])
async def test_a_last_event_that_cannot_be_is_no_error(world: World, task: Json, told: str) -> None:
    headers = {**world.alice.headers, "last-event-id": told}
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    async with world.seed.http.stream(
        "GET",
        f"/tasks/{task['id']}/stream",
        headers=encoded,  # type: ignore[arg-type]  # bytes are fine
    ) as response:
        frames = Frames(response)
        assert kind(await frames.next()) == "connected"
        await say(world.alice, task, "now")
        assert kind(await frames.next()) == "full"


async def test_a_quiet_stream_is_kept_alive(world: World, task: Json) -> None:
    for headers in ({}, {"last-event-id": "0"}):
        async with open_stream(world.alice, f"/tasks/{task['id']}/stream", **headers) as frames:
            raw = []
            async with asyncio.timeout(WAIT_SECONDS):
                async for chunk in frames.response.aiter_text():
                    raw.append(chunk)
                    if "".join(raw).count(":ping") >= 2:
                        break
        # The published client dies on a block of its own once it has seen an id.
        assert ":ping\n\n" in "".join(raw) if not headers else ":ping\n\n" not in "".join(raw)


@pytest.mark.parametrize("busy", [False, True])
async def test_a_reader_who_may_not_any_more_sees_nothing_further(world: World, task: Json, busy: bool) -> None:
    await world.alice.share(task, world.bob, "viewer")
    async with open_stream(world.bob, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        await say(world.alice, task, "shared")
        assert kind(await frames.next()) == "full"
        await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
        if busy:
            await say(world.alice, task, "secret")
        assert await frames.rest() == []


async def test_a_reader_whose_key_is_revoked_sees_nothing_further(world: World, task: Json) -> None:
    async with open_stream(world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        await world.seed.execute("UPDATE api_keys SET revoked_at = now() WHERE subject_id = $1", world.alice.id)
        assert await frames.rest() == []


async def test_the_stream_of_a_deleted_task_ends(world: World, task: Json) -> None:
    async with open_stream(world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        await world.alice.delete(f"/tasks/{task['id']}")
        assert all(kind(event) == "task_updated" for event in await frames.rest())


async def test_two_servers_serve_one_stream(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url, "async")
    task = await own_world.alice.make_task(agent)
    async with serve(own_server.dsn) as second, open_seeder(second.dsn, second.url) as seed:
        there = Party(**{**vars(own_world.alice), "http": seed.http})
        async with (
            open_stream(own_world.alice, f"/tasks/{task['id']}/stream") as here,
            open_stream(there, f"/tasks/{task['id']}/stream") as away,
        ):
            for frames in (here, away):
                assert kind(await frames.next()) == "connected"
            for n in range(20):
                await say((own_world.alice, there)[n % 2], task, f"m{n}")
            said = [[await frames.next() for _ in range(20)] for frames in (here, away)]
            await there.post(f"/tasks/{task['id']}/complete")
            ends = [await frames.rest() for frames in (here, away)]
    assert said[0] == said[1]
    assert {event["content"]["content"] for event in said[0] if event} == {f"m{n}" for n in range(20)}
    assert ends[0] == ends[1]
    assert [event["task"]["status"] for event in ends[0]] == ["COMPLETED"]


async def test_nothing_goes_back_although_two_processes_tell_it(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    """What one process was told before another one, and writes after it, as a process does that is still gathering."""
    task = await own_world.alice.make_task(await own_world.make_agent(fake.url, "async"))
    async with (
        serve(own_server.dsn) as second,
        open_stream(own_world.alice, f"/tasks/{task['id']}/stream") as frames,
    ):
        assert kind(await frames.next()) == "connected"
        first_hub, second_hub = own_server.app.state.hub, second.app.state.hub
        await say(own_world.alice, task, "growing")
        (begun,) = [event for event in [await frames.next()] if event]
        message = begun["parent_task_message"]
        for number in (2, 1):
            told = {**message, "updated_at": f"2099-01-01T00:00:0{number}Z"}
            second_hub.publish(task["id"], {"type": "full", "content": told["content"], "parent_task_message": told})
            await second_hub.flush()
        end = {"type": "task_updated", "task": {**task, "status": "COMPLETED", "updated_at": "2099-01-01T00:00:02Z"}}
        first_hub.publish(task["id"], {"type": "full", "parent_task_message": None, "content": text("last words")})
        second_hub.publish(task["id"], end)
        await second_hub.flush()
        events = await frames.rest()
    assert [event["parent_task_message"]["updated_at"][-3:-1] for event in events[:1]] == ["02"]
    assert [kind(event) for event in events] == ["full", "full", "task_updated"], "neither the older state nor a loss"
    assert events[1]["content"]["content"] == "last words"


async def test_no_update_of_another_task_is_seen(world: World, task: Json) -> None:
    other = await world.alice.make_task(world.agents[0])
    async with open_stream(world.alice, f"/tasks/{task['id']}/stream") as frames:
        assert kind(await frames.next()) == "connected"
        await say(world.alice, other, "elsewhere")
        await say(world.alice, task, "here")
        event = await frames.next()
        assert event is not None
        assert event["content"]["content"] == "here"


async def test_a_thousand_updates_come_in_order(database: str, fake: FakeAgent) -> None:
    async with serve(database) as server, open_seeder(database, server.url) as seed:
        world = await make_world(seed)
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        async with open_stream(world.alice, f"/tasks/{task['id']}/stream") as frames:
            assert kind(await frames.next()) == "connected"
            for n in range(1000):
                server.app.state.hub.publish(task["id"], {"type": "n", "n": n})
            numbers = [event["n"] for event in [await frames.next() for _ in range(1000)] if event]
    assert numbers == list(range(1000))


async def test_what_was_said_just_before_the_end_is_shown(database: str, fake: FakeAgent) -> None:
    """The task is seen to have ended while its last update is still on the way to its readers."""
    async with serve(database, stream_ping=1.0) as server, open_seeder(database, server.url) as seeder:
        world = await make_world(seeder)
        task = await world.alice.make_task(await world.make_agent(fake.url))
        async with world.seed.http.stream("GET", f"/tasks/{task['id']}/stream", headers=world.alice.headers) as stream:
            lines = stream.aiter_lines()
            assert "connected" in await anext(lines)
            await seeder.execute("UPDATE tasks SET status = 'COMPLETED' WHERE id = $1", task["id"])
            async with asyncio.timeout(WAIT_SECONDS):
                while not (await anext(lines)).startswith(":ping"):
                    pass
                server.app.state.hub.publish(task["id"], {"type": "full", "index": None, "parent_task_message": None})
                rest = [line async for line in lines]
    assert any('"full"' in line for line in rest)
