"""Many messages in one request: in their order, all or none, and nothing of other tasks."""

import asyncio
from datetime import datetime, timedelta

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World, text
from support.server import Server, record_statements

from remit.ids import new_id


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url, "async")


@pytest.fixture
async def task(world: World, agent: AgentParty) -> Json:
    return await world.alice.make_task(agent)


async def store(party: Party, task: Json, *words: str, **more: object) -> list[Json]:
    body = {"task_id": task["id"], "contents": [text(word, "agent") for word in words], **more}
    response = await party.post("/messages/batch", body)
    assert response.status_code == 200, response.text
    messages: list[Json] = response.json()
    return messages


async def words_of(party: Party, task: Json) -> list[str]:
    return [m["content"]["content"] for m in (await party.get("/messages", task_id=task["id"])).json()]


async def test_a_batch_keeps_its_order_a_millisecond_apart(world: World, agent: AgentParty, task: Json) -> None:
    messages = await store(agent, task, *"abcdefghij", created_at="2031-01-01T01:00:00+01:00")
    assert [message["content"]["content"] for message in messages] == list("abcdefghij")
    start = datetime.fromisoformat("2031-01-01T00:00:00+00:00")
    at = [datetime.fromisoformat(message["created_at"]) for message in messages]
    assert at == [start + timedelta(milliseconds=n) for n in range(10)]
    assert await words_of(world.alice, task) == list("jihgfedcba")
    assert {message["streaming_status"] for message in messages} == {None}
    assert (await agent.get(f"/messages/{messages[3]['id']}")).json() == messages[3]


async def test_the_servers_clock_serves_when_none_is_given(agent: AgentParty, task: Json) -> None:
    one, two = (datetime.fromisoformat(m["created_at"]) for m in await store(agent, task, "a", "b"))
    assert two - one == timedelta(milliseconds=1)


async def test_who_wrote_a_batch_is_recorded_whatever_it_claims(world: World, agent: AgentParty, task: Json) -> None:
    await store(world.alice, task, "claims to be an agent")
    await store(agent, task, "is one")
    rows = await world.seed.fetch(
        "SELECT author_subject_id, author_agent_id FROM messages WHERE task_id = $1 ORDER BY created_at", task["id"]
    )
    assert [tuple(row.values()) for row in rows] == [(world.alice.id, None), (None, agent.id)]


async def test_a_batch_is_stored_whole_or_not_at_all(world: World, agent: AgentParty, task: Json) -> None:
    body = {"task_id": task["id"], "contents": [text("good", "agent"), {"type": "text", "author": "agent"}]}
    assert (await agent.post("/messages/batch", body)).status_code == 422
    assert await words_of(world.alice, task) == []
    assert await store(agent, task) == []


async def test_readers_of_the_stream_see_a_batch(world: World, agent: AgentParty, task: Json) -> None:
    messages = await store(agent, task, "a", "b")
    body = {"task_id": task["id"], "updates": {messages[1]["id"]: text("c", "agent")}}
    assert (await agent.put("/messages/batch", body)).status_code == 200
    rows = await world.seed.wait_for_rows(
        3,
        "SELECT data::json ->> 'type' AS type, data::json -> 'content' ->> 'content' AS said, "
        "(data::jsonb -> 'parent_task_message') AS message "
        "FROM stream_entries WHERE task_id = $1 ORDER BY seq",
        task["id"],
    )
    assert [(row["type"], row["said"]) for row in rows] == [("full", "a"), ("full", "b"), ("full", "c")]
    assert [row["message"] for row in rows[:2]] == messages, "shown as it was answered"


async def test_an_update_changes_what_it_names(world: World, agent: AgentParty, task: Json) -> None:
    a, _, c = await store(agent, task, "a", "b", "c")
    body = {"task_id": task["id"], "updates": {c["id"].upper(): text("C", "agent"), a["id"]: text("A", "agent")}}
    changed = (await agent.put("/messages/batch", body)).json()
    assert [(message["id"], message["content"]["content"]) for message in changed] == [(c["id"], "C"), (a["id"], "A")]
    assert {message["created_at"] for message in changed} == {a["created_at"], c["created_at"]}
    assert await words_of(world.alice, task) == ["C", "b", "A"]
    assert (await agent.put("/messages/batch", {"task_id": task["id"], "updates": {}})).json() == []


async def test_messages_of_other_tasks_are_left_alone_and_hidden_ones_are_absent(
    world: World, agent: AgentParty, task: Json
) -> None:
    own_other, hidden = await world.alice.make_task(agent), await world.bob.make_task(agent)
    (mine,) = await store(agent, task, "mine")
    (other,) = await store(agent, own_other, "other")
    (foreign,) = await store(agent, hidden, "hidden")

    async def update(*ids: str) -> tuple[int, str]:
        body = {"task_id": task["id"], "updates": {id: text("changed", "agent") for id in ids}}
        response = await world.alice.put("/messages/batch", body)
        if response.status_code == 200:
            return 200, ",".join(message["id"] for message in response.json())
        return response.status_code, response.json()["message"].replace(ids[-1], "ID")

    assert (await update(mine["id"], foreign["id"]))[0] == 404
    assert await update(mine["id"], foreign["id"]) == await update(mine["id"], new_id())
    assert await words_of(world.alice, task) == ["mine"]
    assert await update(other["id"], mine["id"]) == (200, mine["id"])
    assert await words_of(world.alice, task) == ["changed"]
    assert await words_of(world.alice, own_other) == ["other"]
    assert await words_of(world.bob, hidden) == ["hidden"]


async def test_an_update_locks_messages_in_the_order_of_their_ids(world: World, agent: AgentParty, task: Json) -> None:
    """Two updates of the same messages in different orders wait for one another, and never each for the other."""
    first, last = await store(agent, task, "first", "last")
    body = {"task_id": task["id"], "updates": {one["id"]: text("changed", "agent") for one in (last, first)}}
    lock = "SELECT 1 FROM messages WHERE id = $1 FOR UPDATE NOWAIT"
    async with world.seed.database.transaction() as connection:
        await connection.execute(lock, first["id"])
        update = asyncio.create_task(agent.put("/messages/batch", body))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await world.seed.wait_for_rows(1, waiting)
        await connection.execute(lock, last["id"])  # fails at once if the update holds it already
    assert (await update).status_code == 200
    assert await words_of(agent, task) == ["changed", "changed"]


async def test_a_batch_costs_as_many_statements_as_a_message(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    agent = await own_world.make_agent(fake.url, "async")
    task = await own_world.alice.make_task(agent)
    await store(agent, task, "first")  # the driver looks types up once per connection
    with record_statements(own_server) as statements:
        messages = await store(agent, task, *(str(n) for n in range(100)))
    assert len(statements) == 1
    body = {"task_id": task["id"], "updates": {message["id"]: text("x", "agent") for message in messages}}
    with record_statements(own_server) as statements:
        assert len((await agent.put("/messages/batch", body)).json()) == 100
    assert len(statements) == 4, "two of them begin and commit"


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("POST", {"contents": None}),
        ("POST", {"contents": [text("x")] * 1001}),
        ("POST", {"contents": [text("\x00")]}),
        ("POST", {"contents": [{"type": "unknown"}]}),
        ("POST", {"created_at": "2031-01-01T00:00:00"}),
        ("POST", {"created_at": "9999-12-31T23:59:59.999Z"}),
        ("POST", {"task_id": "x"}),
        ("PUT", {"updates": None}),
        ("PUT", {"updates": {"x": text("x")}}),
        ("PUT", {"updates": {new_id(): text("\x00")}}),
        ("PUT", {"updates": [text("x")]}),
    ],
)
async def test_a_body_that_does_not_fit(agent: AgentParty, task: Json, method: str, change: Json) -> None:
    body = {"task_id": task["id"], "contents": [text("a")], "updates": {}, **change}
    assert (await agent.call(method, "/messages/batch", json=body)).status_code == 422
