"""Export, clean and rehydrate: what a task held goes out, goes away, and comes back as it was."""

import asyncio
from typing import Any

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, World, text

from remit.events import insert_event
from remit.ids import new_id

WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url, "async")


async def make_full(world: World, agent: AgentParty, *, done: bool = True) -> Json:
    """A task with three messages and a state; completed, so that it can be cleaned."""
    task = await world.alice.make_task(agent)
    for content, status, at in (
        (text("b", "agent"), "DONE", "2031-01-01T00:00:00.000002Z"),
        (text("a", "user"), None, "2031-01-01T00:00:00.000001Z"),
        ({"type": "data", "author": "agent", "data": {"n": [1.5, None]}}, "IN_PROGRESS", "2031-01-01T00:00:01Z"),
    ):
        body = {"task_id": task["id"], "content": content, "streaming_status": status, "created_at": at}
        assert (await agent.post("/messages", body)).status_code == 200
    await agent.post("/states", {"task_id": task["id"], "agent_id": agent.id, "state": {"deep": {"n": 1}}})
    if done:
        assert (await world.alice.post(f"/tasks/{task['id']}/complete", {})).status_code == 200
    return task


async def export(world: World, task: Json) -> Json:
    response = await world.alice.get(f"/tasks/{task['id']}/export")
    assert response.status_code == 200, response.text
    snapshot: Json = response.json()
    return snapshot


async def clean(world: World, task: Json, **options: Any) -> Any:
    return await world.alice.post(f"/tasks/{task['id']}/clean", {"force": True, **options})


async def test_what_is_cleaned_comes_back_as_it_was(world: World, agent: AgentParty) -> None:
    task = await make_full(world, agent)
    snapshot = await export(world, task)
    assert snapshot["task_id"] == task["id"]
    assert [m["content"].get("content") for m in snapshot["messages"]] == ["a", "b", None]  # oldest first
    assert [s["state"] for s in snapshot["task_states"]] == [{"deep": {"n": 1}}]
    cleaned = (await clean(world, task)).json()
    assert cleaned["cleaned_at"]
    assert cleaned == {
        "task_id": task["id"],
        "cleaned_at": cleaned["cleaned_at"],
        "messages_deleted": 3,
        "task_states_deleted": 1,
        "events_deleted": 0,
    }
    assert (await world.alice.get(f"/tasks/{task['id']}")).json()["cleaned_at"] == cleaned["cleaned_at"]
    assert await export(world, task) == {"task_id": task["id"], "messages": [], "task_states": []}
    again = (await clean(world, task)).json()
    assert again == {**cleaned, "messages_deleted": 0, "task_states_deleted": 0}
    response = await world.alice.post(f"/tasks/{task['id']}/rehydrate", snapshot)
    assert (response.status_code, response.content) == (204, b"")
    assert await export(world, task) == snapshot
    assert (await world.alice.get(f"/tasks/{task['id']}")).json()["cleaned_at"] is None
    # Whoever brought the messages back is who answers for them.
    authors = await world.seed.fetch("SELECT DISTINCT author_subject_id FROM messages WHERE task_id = $1", task["id"])
    assert authors == [{"author_subject_id": world.alice.id}]
    assert (await world.alice.post(f"/tasks/{task['id']}/rehydrate", snapshot)).status_code == 400


async def test_a_task_at_work_or_in_use_is_not_cleaned(world: World, agent: AgentParty) -> None:
    task = await make_full(world, agent, done=False)
    event = (await world.alice.rpc(agent, "event/send", {"task_id": task["id"]})).json()["result"]["id"]
    path = f"/tasks/{task['id']}"
    assert (await clean(world, task)).status_code == 400  # RUNNING
    await world.alice.post(f"{path}/complete", {})
    assert (await clean(world, task)).status_code == 400  # an event that nobody processed
    (tracker,) = (await agent.get("/tracker", task_id=task["id"])).json()
    await agent.put(f"/tracker/{tracker['id']}", {"last_processed_event_id": event, "status": "kept"})
    assert (await world.alice.post(f"{path}/clean")).status_code == 400  # not idle for a week
    assert len((await export(world, task))["messages"]) == 3
    assert (await clean(world, task)).json()["events_deleted"] == 1
    (tracker,) = (await agent.get("/tracker", task_id=task["id"])).json()
    assert (tracker["last_processed_event_id"], tracker["status"]) == (None, "kept")
    # The cursor starts anew with the events.
    event = (await world.alice.rpc(agent, "event/send", {"task_id": task["id"]})).json()["result"]["id"]
    assert (await agent.put(f"/tracker/{tracker['id']}", {"last_processed_event_id": event})).status_code == 200


@pytest.mark.parametrize(("days", "status"), [(9, 200), (11, 400)])
async def test_idle_days_are_counted_from_the_last_change(
    world: World, agent: AgentParty, days: int, status: int
) -> None:
    task = await make_full(world, agent)
    for table in ("messages", "states", "tasks"):
        column = "id" if table == "tasks" else "task_id"
        await world.seed.execute(
            f"UPDATE {table} SET updated_at = now() - interval '10 days' WHERE {column} = $1", task["id"]
        )
    assert (await clean(world, task, force=False, idle_days=days)).status_code == status


async def test_cleaning_at_once_counts_each_row_once(world: World, agent: AgentParty) -> None:
    task = await make_full(world, agent)
    answers = await asyncio.gather(*(clean(world, task) for _ in range(6)))
    assert sorted(answer.json()["messages_deleted"] for answer in answers) == [0, 0, 0, 0, 0, 3]


async def test_cleaning_waits_for_an_event_that_is_being_stored(world: World, agent: AgentParty) -> None:
    task = await make_full(world, agent)
    async with world.seed.database.transaction() as connection:
        await insert_event(connection, task["id"], None)
        cleaning = asyncio.create_task(clean(world, task))
        await world.seed.wait_for_rows(1, WAITING)
    assert (await cleaning).status_code == 400
    assert len((await export(world, task))["messages"]) == 3


async def test_cleaning_touches_no_other_task(world: World, agent: AgentParty) -> None:
    task, other = await make_full(world, agent), await make_full(world, agent)
    before = await export(world, other)
    await clean(world, task)
    assert await export(world, other) == before


async def test_a_snapshot_that_does_not_belong_brings_nothing_back(world: World, agent: AgentParty) -> None:
    task, other = await make_full(world, agent), await make_full(world, agent)
    snapshot, foreign = await export(world, task), await export(world, other)
    assert (await world.alice.post(f"/tasks/{task['id']}/rehydrate", snapshot)).status_code == 400  # not clean
    await clean(world, task)
    (state,) = snapshot["task_states"]
    elsewhere = {**snapshot["messages"][0], "task_id": other["id"]}
    taken = {**snapshot["messages"][0], "id": foreign["messages"][0]["id"]}
    twice = [snapshot["messages"][0]] * 2
    for change, status in (
        ({"task_id": other["id"]}, 400),
        ({"messages": [elsewhere]}, 400),
        ({"messages": [taken]}, 400),
        ({"messages": twice}, 400),
        ({"task_states": [{**state, "id": None}, {**state, "id": None}]}, 400),
        ({"task_states": [{**state, "task_id": other["id"]}]}, 400),
        ({"task_states": [{**state, "agent_id": new_id()}]}, 422),
        ({"snapshot_url": "https://example.com/snapshot"}, 422),  # beside the snapshot itself
        ({"messages": [{**snapshot["messages"][0], "content": text("\x00")}]}, 422),
        ({"messages": [{"task_id": task["id"]}]}, 422),
    ):
        response = await world.alice.post(f"/tasks/{task['id']}/rehydrate", {**snapshot, **change})
        assert response.status_code == status, (change, response.text)
        assert await export(world, task) == {"task_id": task["id"], "messages": [], "task_states": []}
    assert await export(world, other) == foreign


async def test_a_snapshot_without_ids_gets_new_ones(world: World, agent: AgentParty) -> None:
    task = await make_full(world, agent)
    snapshot = await export(world, task)
    await clean(world, task)
    for part in (*snapshot["messages"], *snapshot["task_states"]):
        del part["id"], part["created_at"], part["updated_at"]
    assert (await world.alice.post(f"/tasks/{task['id']}/rehydrate", snapshot)).status_code == 204
    back = await export(world, task)
    assert [m["content"] for m in back["messages"]] == [m["content"] for m in snapshot["messages"]]
    assert len({m["id"] for m in back["messages"]}) == 3


@pytest.mark.parametrize("body", [{"idle_days": 0}, {"idle_days": 10**9}, {"force": "perhaps"}, []])
async def test_options_that_do_not_fit(world: World, agent: AgentParty, body: Any) -> None:
    task = await make_full(world, agent)
    assert (await world.alice.post(f"/tasks/{task['id']}/clean", body)).status_code == 422
