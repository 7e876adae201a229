"""A send that waited for its turn decides by how things are when it gets it; a failed turn is always given back."""

import asyncio
from typing import Any

import pytest
from support.agent import AgentCall, FakeAgent, by_hand, delta, full, start
from support.graph import AgentParty, Json, World, text


async def start_two(
    world: World, fake: FakeAgent
) -> tuple[AgentParty, Json, AgentCall, "asyncio.Task[Any]", "asyncio.Task[Any]"]:
    """Alice's send, which the agent is at, and bob's, an editor's, which waits for it."""
    fake.handle = by_hand
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.bob, "editor")
    first = asyncio.create_task(world.alice.send(agent, task, "first"))
    call = await fake.next_call()
    second = asyncio.create_task(world.bob.send(agent, task, "second"))
    await asyncio.sleep(0.3)  # were it not waiting, it would have called the agent by now
    return agent, task, call, first, second


async def end(call: AgentCall) -> None:
    await call.send(full("one"))
    await call.finish()


async def test_a_task_that_ended_meanwhile_takes_no_message(world: World, fake: FakeAgent) -> None:
    _, task, call, first, second = await start_two(world, fake)
    assert (await world.alice.post(f"/tasks/{task['id']}/complete")).status_code == 200
    await end(call)
    await first
    assert (await second).status_code == 400
    assert len(fake.calls) == 1
    said = (await world.alice.get("/messages", task_id=task["id"])).json()
    assert "second" not in [message["content"]["content"] for message in said]


async def test_a_role_taken_meanwhile_is_gone(world: World, fake: FakeAgent) -> None:
    _, task, call, first, second = await start_two(world, fake)
    path = f"/tasks/{task['id']}/access"
    assert (await world.alice.delete(path, subject_type="user", subject_id="bob")).status_code == 200
    await end(call)
    await first
    assert (await second).status_code == 404
    assert len(fake.calls) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_task_deleted_while_its_agent_fails_still_ends_with_the_error(
    world: World, fake: FakeAgent, stream: bool
) -> None:
    fake.handle = by_hand
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    sending = asyncio.create_task(
        world.alice.rpc(agent, "message/send", {"task_id": task["id"], "content": text("hi"), "stream": stream})
    )
    call = await fake.next_call()
    await call.send(start(), delta("half"))
    await asyncio.sleep(0.1)
    assert (await world.alice.delete(f"/tasks/{task['id']}")).status_code == 200
    await call.fail("no")
    answer = await sending
    assert answer.status_code == 200
    assert '"error":{' in answer.text.splitlines()[-1]
    async with world.seed.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM task_turns WHERE task_id = $1", task["id"]) == 0


@pytest.mark.parametrize("name", ["", "n" * 513])
async def test_a_name_that_is_none_or_too_long_is_refused(world: World, fake: FakeAgent, name: str) -> None:
    agent = await world.make_agent(fake.url)
    answer = await world.alice.rpc(agent, "task/create", {"name": name})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.params.name"


async def test_a_filter_nested_too_deep_is_refused(world: World) -> None:
    answer = await world.alice.get("/tasks", task_metadata='{"a":' * 300 + "1" + "}" * 300)
    assert answer.status_code == 422
