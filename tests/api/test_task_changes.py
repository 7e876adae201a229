"""Tasks change: metadata and params, the state machine, and the soft delete that leaves nothing behind."""

import asyncio

import pytest
from support.agent import FakeAgent, by_hand, full
from support.graph import Json, World, text

VERBS = {
    "complete": "COMPLETED",
    "fail": "FAILED",
    "cancel": "CANCELED",
    "terminate": "TERMINATED",
    "timeout": "TIMED_OUT",
}


async def test_metadata_is_replaced_and_params_are_merged(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent, "named", params={"a": 1, "b": {"c": 1}}, task_metadata={"old": 1})
    path = f"/tasks/{task['id']}"
    changed = (await world.alice.put(path, {"task_metadata": {"new": 2}, "merge_params": {"b": 2}})).json()
    assert (changed["task_metadata"], changed["params"]) == ({"new": 2}, {"a": 1, "b": 2})
    changes_nothing: list[Json] = [{}, {"merge_params": {}}, {"task_metadata": None, "merge_params": None}]
    for body in changes_nothing:
        same = (await world.alice.put("/tasks/name/named", body)).json()
        assert same == changed
    emptied = (await world.alice.put("/tasks/name/named", {"task_metadata": {}})).json()
    assert emptied["task_metadata"] == {}
    assert (await world.alice.get(path)).json()["params"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_task_ends_once(world: World, fake: FakeAgent, verb: str) -> None:
    agent = await world.make_agent(fake.url, "async")
    for first in ([], ["interrupt"]):
        task = await world.alice.make_task(agent)
        path = f"/tasks/{task['id']}"
        for step in first:
            assert (await world.alice.post(f"{path}/{step}")).json()["status"] == "INTERRUPTED"
        calls = len(fake.calls)
        ended = (await world.alice.post(f"{path}/{verb}", {"reason": "enough"})).json()
        assert (ended["status"], ended["status_reason"]) == (VERBS[verb], "enough")
        for again in (*VERBS, "interrupt"):
            response = await world.alice.post(f"{path}/{again}", {})
            assert response.status_code == 400, again
        assert (await world.alice.get(path)).json()["status"] == VERBS[verb]
        assert len(fake.calls) == calls, "the REST verbs do not call the agent"


async def test_interrupting_twice_is_refused(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    interrupted = await world.alice.post(f"/tasks/{task['id']}/interrupt")
    assert interrupted.json()["status_reason"] == "Task interrupted"
    assert (await world.alice.post(f"/tasks/{task['id']}/interrupt")).status_code == 400


async def test_of_transitions_at_once_one_wins(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    for _ in range(4):
        task = await world.alice.make_task(agent)
        verbs = list(VERBS) * 2
        answers = await asyncio.gather(*(world.alice.post(f"/tasks/{task['id']}/{verb}") for verb in verbs))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] + [400] * 9
        (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
        assert (await world.alice.get(f"/tasks/{task['id']}")).json()["status"] == winner["status"]


async def make_children(world: World, agent_id: str, task: Json) -> dict[str, str]:
    task_id = task["id"]
    message = await world.alice.post("/messages", {"task_id": task_id, "content": text("x")})
    state = await world.alice.post("/states", {"task_id": task_id, "agent_id": agent_id, "state": {}})
    return {"message": message.json()["id"], "state": state.json()["id"]}


async def test_a_deleted_task_is_gone_with_its_children_and_relationships(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent, "again")
    task_id = task["id"]
    await world.alice.share(task, world.bob, "viewer")
    children = await make_children(world, agent.id, task)
    event = (await world.alice.rpc(agent, "event/send", {"task_id": task_id})).json()["result"]["id"]
    assert (await world.bob.get(f"/tasks/{task_id}")).status_code == 200
    assert await world.seed.relationships_of("task", task_id)

    answer = (await world.alice.delete("/tasks/name/again")).json()
    assert answer["id"] == task_id
    assert await world.seed.relationships_of("task", task_id) == []
    (row,) = await world.seed.fetch("SELECT status FROM tasks WHERE id = $1", task_id)
    assert row["status"] == "DELETED"
    for party in (world.alice, world.bob, world.root, agent):
        for path in (
            f"/tasks/{task_id}",
            "/tasks/name/again",
            f"/tasks/{task_id}/stream",
            f"/tasks/{task_id}/access",
            f"/messages?task_id={task_id}",
            f"/messages/{children['message']}",
            f"/states?task_id={task_id}",
            f"/states/{children['state']}",
            f"/events?task_id={task_id}&agent_id={agent.id}",
            f"/events/{event}",
        ):
            assert (await party.call("GET", path)).status_code == 404, path
        assert (await party.post("/messages", {"task_id": task_id, "content": text("x")})).status_code == 404
        assert (await party.rpc(agent, "event/send", {"task_id": task_id})).status_code == 404
        assert (await party.delete(f"/tasks/{task_id}")).status_code == 404
        assert (await party.get("/tasks")).json() == []


async def test_a_deleted_tasks_name_is_free_and_its_roles_do_not_come_back(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    first = await world.alice.make_task(agent, "name")
    await world.alice.share(first, world.bob, "owner")
    await world.bob.delete(f"/tasks/{first['id']}")
    second = await world.bot.make_task(agent, "name")
    assert second["id"] != first["id"]
    for party in (world.alice, world.bob):
        assert (await party.get("/tasks/name/name")).status_code == 404
    assert (await world.bot.get("/tasks/name/name")).json()["id"] == second["id"]


async def test_a_task_has_a_tracker_from_the_start(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    trackers = await world.seed.fetch("SELECT agent_id FROM agent_task_trackers WHERE task_id = $1", task["id"])
    assert trackers == [{"agent_id": agent.id}]


async def test_of_deletes_at_once_one_wins(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    answers = await asyncio.gather(*(world.alice.delete(f"/tasks/{task['id']}") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 5


async def test_a_deleted_agent_is_gone_with_its_key_and_its_tasks_stay(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, owner=world.bob)
    task = await world.alice.make_task(agent)
    assert (await world.alice.delete(f"/agents/{agent.id}")).status_code == 403
    assert (await world.bob.delete(f"/agents/{agent.id}")).status_code == 200
    assert (await agent.get("/me")).status_code == 401
    assert await world.seed.relationships_of("agent", agent.id) == []
    for party in (world.alice, world.bob, world.root):
        assert (await party.get(f"/agents/{agent.id}")).status_code == 404
        assert (await party.rpc(agent, "task/create")).status_code == 404
    assert (await world.alice.get(f"/tasks/{task['id']}")).status_code == 200
    assert (await world.alice.send(agent, task)).status_code == 404
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 404
    again = await world.make_agent(fake.url, name=agent.name)
    assert again.id != agent.id


async def test_deleting_a_task_while_its_agent_answers_leaves_nothing(world: World, fake: FakeAgent) -> None:
    fake.handle = by_hand
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    sending = asyncio.create_task(world.alice.send(agent, task))
    call = await fake.next_call()
    assert (await world.alice.delete(f"/tasks/{task['id']}")).status_code == 200
    await call.send(full("late"))
    await call.finish()
    assert (await sending).status_code == 404
    stored = await world.seed.fetch("SELECT content FROM messages WHERE task_id = $1", task["id"])
    assert [message["content"]["content"] for message in stored] == ["hi"]
