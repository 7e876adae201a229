"""Each method, for agents that answer at once and for those that work on their own."""

import asyncio

import pytest
from support.agent import AgentCall, FakeAgent, by_hand
from support.graph import World, text

from remit.ids import new_id


async def test_a_sync_agent_is_not_told_of_a_new_task(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    assert (await world.alice.make_task(agent))["status"] == "RUNNING"
    assert fake.calls == []


@pytest.mark.parametrize("acp_type", ["async", "agentic"])
async def test_an_async_agent_is_told_of_a_new_task(world: World, fake: FakeAgent, acp_type: str) -> None:
    agent = await world.make_agent(fake.url, acp_type)  # type: ignore[arg-type]  # one of the two
    task = await world.alice.make_task(agent, "name", params={"a": 1})
    (call,) = fake.calls
    assert (call.method, call.id) == ("task/create", f"task/create-{task['id']}")
    assert call.params["params"] == {"a": 1}
    assert {key: call.params["task"][key] for key in ("id", "name", "status", "creator_user_id")} == {
        "id": task["id"],
        "name": "name",
        "status": "RUNNING",
        "creator_user_id": "alice",
    }
    assert {"id", "name", "description", "acp_type", "created_at", "updated_at"} <= call.params["agent"].keys()
    assert "acp_url" not in call.params["agent"]


async def test_an_agent_gets_no_credential_of_its_caller(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    sent = {"x-custom": "kept", "x-api-key": world.alice.secret, "cookie": "a=b", "traceparent": "00-1-2-03"}
    body = {"method": "task/create", "params": {}}
    response = await world.alice.call("POST", f"/agents/{agent.id}/rpc", json=body, headers=sent)
    headers = fake.calls[0].headers
    assert (headers["x-custom"], headers["traceparent"]) == ("kept", "00-1-2-03")
    assert headers["x-request-id"] == response.headers["x-request-id"]
    assert headers.keys().isdisjoint(
        {"authorization", "x-api-key", "x-agent-api-key", "cookie", "x-acting-user-api-key"}
    )
    assert world.alice.secret not in str(headers) + str(fake.calls[0].params)


async def test_an_event_is_stored_and_told(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent, "name")
    events = []
    for ref in ({"task_id": task["id"]}, {"task_name": "name"}):
        answer = await world.alice.rpc(agent, "event/send", {**ref, "content": text("go")}, id="e")
        assert answer.json()["error"] is None
        events.append(answer.json()["result"])
        assert fake.calls[-1].method == "event/send"
        assert fake.calls[-1].params["event"] == events[-1]
        assert fake.calls[-1].params["request"] is None
    listed = (await world.alice.get("/events", task_id=task["id"], agent_id=agent.id)).json()
    assert listed == events
    assert events[0]["sequence_id"] < events[1]["sequence_id"]
    after = await agent.get("/events", task_id=task["id"], agent_id=agent.id, last_processed_event_id=events[0]["id"])
    assert after.json() == events[1:]
    assert (await agent.get(f"/events/{events[0]['id']}")).json() == events[0]
    assert (await world.alice.get("/messages", task_id=task["id"])).json() == []


async def test_an_event_without_content(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)
    answer = (await world.alice.rpc(agent, "event/send", {"task_id": task["id"]})).json()
    assert (answer["result"]["content"], answer["error"]) == (None, None)


async def test_cancelling_tells_the_agent_first(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)
    seen = []

    async def look(call: AgentCall) -> None:
        seen.append((await agent.get(f"/tasks/{task['id']}")).json()["status"])
        await call.send(None)
        await call.finish()

    fake.handle = look
    canceled = (await world.alice.rpc(agent, "task/cancel", {"task_id": task["id"]})).json()["result"]
    assert (seen, canceled["status"]) == (["RUNNING"], "CANCELED")
    again = (await world.alice.rpc(agent, "task/cancel", {"task_id": task["id"]})).json()["result"]
    assert (again, len(fake.calls)) == (canceled, 2)


async def test_a_task_that_ends_while_it_is_cancelled_keeps_how_it_ended(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)

    async def complete(call: AgentCall) -> None:
        assert (await agent.post(f"/tasks/{task['id']}/complete")).status_code == 200
        await call.send(None)
        await call.finish()

    fake.handle = complete
    answer = (await world.alice.rpc(agent, "task/cancel", {"task_id": task["id"]})).json()
    assert answer["result"]["status"] == "COMPLETED"


@pytest.mark.parametrize("acp_type", ["sync", "async"])
async def test_interrupting_only_tells_the_agent(world: World, fake: FakeAgent, acp_type: str) -> None:
    agent = await world.make_agent(fake.url, acp_type)  # type: ignore[arg-type]  # one of the two
    task = await world.alice.make_task(agent, "name")
    answer = (await world.alice.rpc(agent, "task/interrupt", {"task_name": "name"})).json()
    assert (answer["result"]["status"], fake.calls[-1].method) == ("RUNNING", "task/interrupt")
    assert (await world.alice.get(f"/tasks/{task['id']}")).json()["updated_at"] == task["updated_at"]


async def test_a_method_of_another_type_of_agent_is_400(world: World, fake: FakeAgent) -> None:
    sync, asynchronous = await world.make_agent(fake.url), await world.make_agent(fake.url, "async")
    task, other = await world.alice.make_task(sync), await world.alice.make_task(asynchronous)
    calls = len(fake.calls)
    for method in ("event/send", "task/cancel"):
        assert (await world.alice.rpc(sync, method, {"task_id": task["id"]})).status_code == 400
    for params in ({"task_id": other["id"]}, {"task_name": "new"}, {}):
        response = await world.alice.rpc(asynchronous, "message/send", {**params, "content": text("x")})
        assert response.status_code == 400
    assert len(fake.calls) == calls
    assert len((await world.alice.get("/tasks")).json()) == 2, "a refused message makes no task"
    assert (await world.alice.get("/messages", task_id=other["id"])).json() == []


async def test_another_agents_task_is_absent(world: World, fake: FakeAgent) -> None:
    one, other = await world.make_agent(fake.url, "async"), await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(one, "name")
    calls = len(fake.calls)
    for method in ("event/send", "task/cancel", "task/interrupt"):
        for agent in (other, other.name):
            for ref in ({"task_id": task["id"]}, {"task_name": "name"}, {"task_id": new_id()}):
                assert (await world.alice.rpc(agent, method, ref)).status_code == 404
    sync = await world.make_agent(fake.url)
    assert (await world.alice.send(sync, task)).status_code == 404
    assert len(fake.calls) == calls


async def test_calls_reach_the_agent_by_name_too(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    answer = (await world.alice.rpc(agent.name, "task/create", {"name": "x"}, id=5)).json()
    assert answer["result"]["agent_id"] == agent.id
    assert (await world.alice.rpc(agent.name, "task/cancel", {"task_name": "x"})).json()["error"] is None


async def test_an_agent_calls_back_while_the_server_waits_for_it(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    fake.handle = by_hand
    creating = asyncio.create_task(world.alice.make_task(agent))
    call = await fake.next_call()
    task_id = call.task_id
    answers = [
        await agent.get(f"/tasks/{task_id}"),
        await agent.post("/states", {"task_id": task_id, "agent_id": agent.id, "state": {"n": 1}}),
        await agent.post("/messages", {"task_id": task_id, "content": text("hello", "agent")}),
        await agent.put(f"/tasks/{task_id}", {"task_metadata": {"seen": True}}),
        await agent.get("/events", task_id=task_id, agent_id=agent.id),
        await world.alice.get(f"/tasks/{task_id}"),
        await agent.post(f"/tasks/{task_id}/interrupt"),
    ]
    assert [answer.status_code for answer in answers] == [200] * 7
    assert not creating.done()
    await call.send(None)
    await call.finish()
    await creating
    after = (await world.alice.get(f"/tasks/{task_id}")).json()
    assert (after["status"], after["task_metadata"]) == ("INTERRUPTED", {"seen": True})
