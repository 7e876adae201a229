"""Trackers: one with each task, whose cursor goes forward only, and lists of those the caller may read."""

import asyncio
from typing import Any

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World

from remit.ids import new_id


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url, "async")


async def tracker_of(party: Party, task: Json) -> Json:
    (tracker,) = (await party.get("/tracker", task_id=task["id"])).json()
    found: Json = tracker
    return found


async def send_event(world: World, agent: AgentParty, task: Json) -> str:
    response = await world.alice.rpc(agent, "event/send", {"task_id": task["id"]})
    return str(response.json()["result"]["id"])


async def test_a_task_comes_with_a_tracker(world: World, agent: AgentParty) -> None:
    task = await world.alice.make_task(agent)
    tracker = await tracker_of(agent, task)
    assert (tracker["task_id"], tracker["agent_id"]) == (task["id"], agent.id)
    assert tracker["last_processed_event_id"] is tracker["status"] is tracker["status_reason"] is None
    assert (await agent.get(f"/tracker/{tracker['id']}")).json() == tracker


async def test_the_cursor_moves_only_forward(world: World, agent: AgentParty) -> None:
    task = await world.alice.make_task(agent)
    other = await world.alice.make_task(agent)
    first, second, third = [await send_event(world, agent, task) for _ in range(3)]
    foreign = await send_event(world, agent, other)
    path = f"/tracker/{(await tracker_of(agent, task))['id']}"

    async def move(event: str | None) -> tuple[int, Any]:
        response = await agent.put(path, {"last_processed_event_id": event})
        return response.status_code, (await agent.get(path)).json()["last_processed_event_id"]

    assert await move(second) == (200, second)
    assert await move(second) == (200, second)
    assert await move(first) == (400, second)
    assert await move(new_id()) == (400, second)
    assert await move(foreign) == (400, second)
    assert await move(None) == (200, second)
    assert await move(third) == (200, third)
    await world.seed.execute("DELETE FROM events WHERE id = $1", third)
    assert await move(second) == (400, third)


async def test_of_writers_at_once_the_latest_place_stays(world: World, agent: AgentParty) -> None:
    task = await world.alice.make_task(agent)
    events = [await send_event(world, agent, task) for _ in range(12)]
    path = f"/tracker/{(await tracker_of(agent, task))['id']}"
    moves = [agent.put(path, {"last_processed_event_id": event}) for event in (*reversed(events), *events)]
    assert {response.status_code for response in await asyncio.gather(*moves)} <= {200, 400}
    assert (await agent.get(path)).json()["last_processed_event_id"] == events[-1]


async def test_a_status_that_is_absent_becomes_null(world: World, agent: AgentParty) -> None:
    task = await world.alice.make_task(agent)
    path = f"/tracker/{(await tracker_of(agent, task))['id']}"
    body = {"status": "PROCESSING", "status_reason": "three events"}
    assert body.items() <= (await agent.put(path, body)).json().items()
    assert body.items() <= (await agent.get(path)).json().items()
    changed = (await agent.put(path, {})).json()
    assert changed["status"] is changed["status_reason"] is None
    # A refused move changes nothing of the rest.
    assert (await agent.put(path, {"status": "X", "last_processed_event_id": new_id()})).status_code == 400
    assert (await agent.get(path)).json()["status"] is None


@pytest.mark.parametrize("path", ["/tracker", "/states"])
async def test_lists_hold_what_belongs_to_readable_tasks(world: World, fake: FakeAgent, path: str) -> None:
    one, two = await world.make_agent(fake.url, "async"), await world.make_agent(fake.url, "async")
    tasks = [await world.alice.make_task(agent) for agent in (one, two, one)]
    hidden = await world.bob.make_task(one)
    for task, agent in zip((*tasks, hidden), (one, two, one, one), strict=True):
        assert (
            await agent.post("/states", {"task_id": task["id"], "agent_id": agent.id, "state": {}})
        ).status_code == 200
    await world.alice.make_task(one)  # without a state: its place in a page is not taken by nothing
    first, second, third = (task["id"] for task in tasks)

    async def listed(party: Party, **params: Any) -> list[str]:
        response = await party.get(path, **params)
        assert response.status_code == 200, response.text
        of = [row["task_id"] for row in response.json()]
        return [task for task in of if task in (first, second, third, hidden["id"])]

    assert await listed(world.alice) == [third, second, first]
    assert await listed(world.alice, agent_id=one.id) == [third, first]
    assert await listed(world.alice, agent_id=new_id()) == []
    assert await listed(world.alice, task_id=second) == [second]
    assert await listed(world.alice, task_id=second, agent_id=one.id) == []
    assert await listed(one) == [hidden["id"], third, first]
    assert await listed(world.root) == [hidden["id"], third, second, first]
    assert await listed(world.mallory) == await listed(world.viewer) == []
    pages: list[str] = []
    params: Json = {"limit": 1, "agent_id": one.id}
    while True:
        response = await world.alice.get(path, **params)
        pages += [row["task_id"] for row in response.json() if row["task_id"] in (first, second, third)]
        if (cursor := response.headers.get("x-next-cursor")) is None:
            break
        params["cursor"] = cursor
    assert pages == [third, first]
    numbered = [await listed(world.alice, limit=2, page_number=number) for number in (1, 2, 3)]
    assert [task for tasks_of_page in numbered for task in tasks_of_page] == [third, second, first]


async def test_the_tracker_of_a_hidden_task_is_in_no_list(world: World, agent: AgentParty) -> None:
    task = await world.alice.make_task(agent)
    for party in (world.bob, world.mallory):
        assert (await party.get("/tracker", task_id=task["id"])).json() == []
    assert (await world.alice.get("/tracker", task_id=new_id())).json() == []
    await world.alice.delete(f"/tasks/{task['id']}")
    assert (await world.alice.get("/tracker", task_id=task["id"])).json() == []


@pytest.mark.parametrize(
    "body",
    [
        {"last_processed_event_id": "x"},
        {"last_processed_event_id": 7},
        {"status": 7},
        {"status": "\x00"},
        [],
    ],
)
async def test_a_body_that_does_not_fit(world: World, agent: AgentParty, body: Any) -> None:
    task = await world.alice.make_task(agent)
    path = f"/tracker/{(await tracker_of(agent, task))['id']}"
    assert (await agent.put(path, body)).status_code == 422
