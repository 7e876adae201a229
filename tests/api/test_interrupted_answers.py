"""Answers that break off: the agent fails or dies, the client hangs up. What came stays, and is marked."""

import asyncio
from typing import Any

import pytest
from support.agent import AgentCall, FakeAgent, by_hand, delta, echo, full, start
from support.databases import make_database
from support.graph import AgentParty, Json, Party, World, make_world, open_seeder
from support.server import serve

from remit.db.embedded import EmbeddedPostgres

WAIT_SECONDS = 15


async def messages_of(party: Party, task: Json) -> list[Json]:
    messages: list[Json] = (await party.get("/messages", task_id=task["id"])).json()
    return messages[::-1]


async def wait_for_messages(party: Party, task: Json, count: int) -> list[Json]:
    """The messages of a task once there are so many and none is in progress."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            messages = await messages_of(party, task)
            if len(messages) >= count and all(message["streaming_status"] == "DONE" for message in messages):
                return messages
            await asyncio.sleep(0.02)


def shown(messages: list[Json]) -> list[tuple[str, bool]]:
    return [(message["content"]["content"], message["interrupted"]) for message in messages]


async def die_in_the_middle(call: AgentCall) -> None:
    await call.send(full("whole", 0), start(1), delta("ha", 1), delta("lf", 1))
    call.die()


async def fail_in_the_middle(call: AgentCall) -> None:
    await call.send(full("whole", 0), start(1), delta("half", 1))
    await call.fail(f"cannot reach http://127.0.0.1:{call.writer.get_extra_info('sockname')[1]}/api")


async def send_rubbish(call: AgentCall) -> None:
    await call.send(full("whole", 0), start(1), delta("half", 1))
    await call.send_line("<html>")
    await call.finish()


async def mix_deltas(call: AgentCall) -> None:
    await call.send(full("whole", 0), start(1), delta("half", 1))
    await call.send({"type": "delta", "index": 1, "delta": {"type": "data", "data_delta": "{}"}})
    await call.finish()


BREAKS = [die_in_the_middle, fail_in_the_middle, send_rubbish, mix_deltas]


def check_error(error: Any, fake: FakeAgent, raw: str) -> None:
    assert error["code"] == -32603
    assert error["message"]
    for secret in (fake.url, f":{fake.port}", "127.0.0.1"):
        assert secret not in raw


@pytest.mark.parametrize("break_off", BREAKS)
async def test_what_a_broken_answer_had_is_stored_and_marked(world: World, fake: FakeAgent, break_off: Any) -> None:
    fake.handle = break_off
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    response = await world.alice.send(agent, task, id=1)
    assert (response.status_code, response.json()["result"]) == (200, None)
    check_error(response.json()["error"], fake, response.text)
    assert shown(await messages_of(world.alice, task)) == [("hi", False), ("whole", False), ("half", True)]
    fake.handle = echo
    assert (await world.alice.send(agent, task)).json()["error"] is None, "the next message is answered at once"


@pytest.mark.parametrize("break_off", BREAKS)
async def test_a_broken_stream_ends_with_an_error_line(world: World, fake: FakeAgent, break_off: Any) -> None:
    fake.handle = break_off
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    async with world.alice.stream_send(agent, task) as lines:
        received = [line async for line in lines]
    assert {line["id"] for line in received} == {"s"}
    assert all(line["error"] is None for line in received[:-1])
    assert received[-1]["result"] is None
    check_error(received[-1]["error"], fake, str(received[-1]["error"]))
    assert shown(await messages_of(world.alice, task)) == [("hi", False), ("whole", False), ("half", True)]
    failed = (await world.alice.get(f"/tasks/{task['id']}")).json()
    assert failed["status"] == "FAILED"
    assert fake.url not in failed["status_reason"]
    fake.handle = echo
    assert (await world.alice.send(agent, task)).json()["error"] is None
    assert (await world.alice.get(f"/tasks/{task['id']}")).json()["status"] == "RUNNING"


async def test_an_agent_that_is_down_is_told_without_its_address(world: World, fake: FakeAgent) -> None:
    async with FakeAgent() as gone:
        url = gone.url
    sync, asynchronous = await world.make_agent(url), await world.make_agent(url, "async")
    task = await world.alice.make_task(sync)
    response = await world.alice.send(sync, task, id=1)
    assert response.status_code == 200
    check_error(response.json()["error"], gone, response.text)
    assert shown(await messages_of(world.alice, task)) == [("hi", False)]
    created = await world.alice.rpc(asynchronous, "task/create", {"name": "n"}, id=2)
    check_error(created.json()["error"], gone, created.text)
    failed = (await world.alice.get("/tasks/name/n")).json()
    assert failed["status"] == "FAILED"
    assert url not in failed["status_reason"]


async def test_a_task_whose_agent_came_back_runs_again(world: World, fake: FakeAgent) -> None:
    async def fail(call: AgentCall) -> None:
        await call.fail("not now")

    fake.handle = fail
    agent = await world.make_agent(fake.url, "async")
    assert "not now" in (await world.alice.rpc(agent, "task/create", {"name": "n"})).json()["error"]["message"]
    assert (await world.alice.get("/tasks/name/n")).json()["status"] == "FAILED"
    fake.handle = echo
    assert (await world.alice.make_task(agent, "n"))["status"] == "RUNNING"


async def test_agents_that_are_slow_are_given_up(postgres: EmbeddedPostgres, template: str, fake: FakeAgent) -> None:
    async def stall(call: AgentCall) -> None:
        if call.method == "message/send":
            await call.send(start(), delta("half"))
        await call.wait_until_hung_up()

    fake.handle = stall
    with make_database(postgres, template) as dsn:
        async with (
            serve(dsn, agent_answer_timeout=0.2, agent_stream_timeout=0.2) as server,
            open_seeder(dsn, server.url) as seed,
        ):
            world = await make_world(seed)
            sync, asynchronous = await world.make_agent(fake.url), await world.make_agent(fake.url, "async")
            created = (await world.alice.rpc(asynchronous, "task/create", {"name": "slow"})).json()
            assert "in time" in created["error"]["message"]
            task = await world.alice.make_task(sync)
            sent = (await world.alice.send(sync, task)).json()
            assert "in time" in sent["error"]["message"]
            assert shown(await messages_of(world.alice, task)) == [("hi", False), ("half", True)]


async def hang_up_while_streaming(agent: AgentParty, party: Party, task: Json, fake: FakeAgent) -> AgentCall:
    async with party.stream_send(agent, task) as lines:
        updates = aiter(lines)
        call = await fake.next_call()
        await call.send(full("whole", 0), start(1), delta("half", 1))
        for _ in range(3):
            await anext(updates)
    return call


async def hang_up_while_waiting(agent: AgentParty, party: Party, task: Json, fake: FakeAgent) -> AgentCall:
    sending = asyncio.create_task(party.send(agent, task))
    call = await fake.next_call()
    await call.send(full("whole", 0), start(1), delta("half", 1))
    # What the agent sent has to arrive before its reader goes: it is read at once, in this very loop's next rounds.
    await asyncio.sleep(0.2)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    return call


@pytest.mark.parametrize("hang_up", [hang_up_while_streaming, hang_up_while_waiting])
async def test_a_client_that_goes_away_cancels_the_call(world: World, fake: FakeAgent, hang_up: Any) -> None:
    fake.handle = by_hand
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    call = await hang_up(agent, world.alice, task, fake)
    await call.wait_until_hung_up()
    stored = await wait_for_messages(world.alice, task, 3)
    assert shown(stored) == [("hi", False), ("whole", False), ("half", True)]
    fake.handle = echo
    assert (await world.alice.send(agent, task)).json()["error"] is None
    assert (await world.alice.get(f"/tasks/{task['id']}")).json()["status"] == "RUNNING"


async def test_a_client_that_goes_away_cancels_a_create(world: World, fake: FakeAgent) -> None:
    fake.handle = by_hand
    agent = await world.make_agent(fake.url, "async")
    creating = asyncio.create_task(world.alice.rpc(agent, "task/create", {"name": "n"}))
    call = await fake.next_call()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    await call.wait_until_hung_up()
    assert (await world.alice.get("/tasks/name/n")).json()["status"] == "RUNNING"
