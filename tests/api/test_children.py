"""Messages, states and events of a task: their order, their pages, and the writer's clock."""

import asyncio
from datetime import datetime

from support.agent import FakeAgent
from support.graph import World, text


async def test_messages_come_newest_first_and_in_pages(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)
    for n in range(7):
        await agent.post("/messages", {"task_id": task["id"], "content": text(f"m{n}", "agent")})

    async def page(**params: int) -> list[str]:
        messages = (await world.alice.get("/messages", task_id=task["id"], **params)).json()
        return [message["content"]["content"] for message in messages]

    newest_first = [f"m{n}" for n in reversed(range(7))]
    assert await page() == newest_first
    pages = [await page(limit=3, page_number=number) for number in (1, 2, 3, 4)]
    assert pages == [newest_first[:3], newest_first[3:6], newest_first[6:], []]


async def test_the_writers_clock_orders_messages(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)
    for words, at in (("late", "2031-01-01T00:00:00+02:00"), ("early", "2030-12-31T21:00:00Z")):
        body = {"task_id": task["id"], "content": text(words, "agent"), "created_at": at}
        message = (await agent.post("/messages", body)).json()
        assert datetime.fromisoformat(message["created_at"]) == datetime.fromisoformat(at)
    listed = (await world.alice.get("/messages", task_id=task["id"])).json()
    assert [message["content"]["content"] for message in listed] == ["late", "early"]


async def test_a_changed_message_keeps_its_place(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)
    first, _ = [
        (await agent.post("/messages", {"task_id": task["id"], "content": text(words, "agent")})).json()
        for words in ("one", "two")
    ]
    body = {"task_id": task["id"], "content": text("changed", "agent")}
    changed = (await agent.put(f"/messages/{first['id']}", body)).json()
    assert (changed["created_at"], changed["streaming_status"]) == (first["created_at"], first["streaming_status"])
    listed = (await world.alice.get("/messages", task_id=task["id"])).json()
    assert [message["content"]["content"] for message in listed] == ["two", "changed"]


async def test_an_agent_has_one_state_on_a_task(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)
    body = {"task_id": task["id"], "agent_id": agent.id, "state": {"n": 1, "deep": {"a": [None]}}}
    answers = await asyncio.gather(*(agent.post("/states", body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    (state,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert state["state"] == body["state"]
    replaced = (await agent.put(f"/states/{state['id']}", {**body, "state": {"m": 2}})).json()
    assert (replaced["id"], replaced["state"]) == (state["id"], {"m": 2})
    assert (await world.alice.get("/states", task_id=task["id"], agent_id=agent.id)).json() == [replaced]
    assert (await agent.delete(f"/states/{state['id']}")).json() == replaced
    assert (await agent.get(f"/states/{state['id']}")).status_code == 404
    assert (await agent.post("/states", body)).status_code == 200


async def test_events_at_once_are_all_seen_by_who_asks_for_what_follows(world: World, fake: FakeAgent) -> None:
    """A reader that goes on after the last event it knows misses none, however they commit."""
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)
    sending = [asyncio.create_task(world.alice.rpc(agent, "event/send", {"task_id": task["id"]})) for _ in range(24)]
    seen: list[str] = []
    while True:
        sent = all(call.done() for call in sending)
        after = {"last_processed_event_id": seen[-1]} if seen else {}
        page = (await agent.get("/events", task_id=task["id"], agent_id=agent.id, limit=5, **after)).json()
        seen += [event["id"] for event in page]
        if sent and not page:
            break
    made = {(await call).json()["result"]["id"] for call in sending}
    assert (set(seen), len(seen)) == (made, 24)
