"""Spans: of a task, guarded through it; of nobody's task, for their writer; found by trace and by task."""

from typing import Any
from urllib.parse import quote

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World
from support.server import Server, record_statements

from remit.ids import new_id

AT = "2031-05-06T07:08:09.123456Z"


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url, "async", owner=world.bob)


async def write(party: Party, task: Json | None = None, **fields: Any) -> Json:
    body = {"trace_id": "trace", "name": "step", "start_time": AT, "task_id": task["id"] if task else None, **fields}
    response = await party.post("/spans", body)
    assert response.status_code == 200, response.text
    span: Json = response.json()
    return span


async def ids_of(party: Party, **params: Any) -> list[str]:
    response = await party.get("/spans", **params)
    assert response.status_code == 200, response.text
    return [span["id"] for span in response.json()]


async def test_a_span_is_kept_as_it_was_written(world: World, agent: AgentParty) -> None:
    task = await world.alice.make_task(agent)
    body = {
        "id": f"own/{new_id()}",
        "trace_id": "t1",
        "task_id": task["id"],
        "parent_id": "p1",
        "name": "think",
        "start_time": AT,
        "end_time": "2031-05-06T09:08:10+02:00",
        "input": {"q": [1, None]},
        "output": [{"a": 1}, {"b": "ü"}],
        "data": {"k": {"deep": True}},
    }
    span = (await agent.post("/spans", body)).json()
    assert span == {**body, "end_time": "2031-05-06T07:08:10Z"}
    assert (await world.alice.get(f"/spans/{quote(body['id'], safe='')}")).json() == span
    assert await ids_of(world.alice, task_id=task["id"]) == [body["id"]]
    made = await write(agent, task)
    assert made["id"]
    assert made["end_time"] is made["input"] is made["data"] is None
    assert (await agent.get(f"/spans/{made['id']}")).json() == made


async def test_an_id_is_taken_once_in_a_tenant(world: World, agent: AgentParty) -> None:
    span = await write(world.alice, id="same", name="first")
    again = await world.bob.post("/spans", {"id": "same", "trace_id": "x", "name": "second", "start_time": AT})
    assert again.status_code == 409
    assert again.headers["x-should-retry"] == "false"
    assert (await world.alice.get("/spans/same")).json() == span
    await write(world.mallory, id="same", name="of another tenant")
    assert (await world.alice.get("/spans/same")).json()["name"] == "first"


async def test_a_change_keeps_what_it_does_not_name_and_merges_data(world: World, agent: AgentParty) -> None:
    task = await world.alice.make_task(agent)
    span = await write(agent, task, input={"a": 1}, data={"keep": 1, "deep": {"x": 1}})
    path = f"/spans/{span['id']}"

    async def patch(**fields: Any) -> Json:
        response = await agent.call("PATCH", path, json=fields)
        assert response.status_code == 200, response.text
        changed: Json = response.json()
        assert (await world.alice.get(path)).json() == changed
        return changed

    assert await patch() == span
    assert await patch(name=None, data={"deep": {"y": 2}, "new": None}) == {
        **span,
        "data": {"keep": 1, "deep": {"y": 2}, "new": None},
    }
    changed = await patch(end_time=AT, output=[{"z": 1}], input={"b": 2}, task_id=task["id"], parent_id="up")
    assert (changed["end_time"], changed["output"], changed["input"]) == (AT, [{"z": 1}], {"b": 2})
    assert (await patch(data=[{"list": 1}]))["data"] == [{"list": 1}]
    assert (await patch(data={"object": 1}))["data"] == {"object": 1}


async def test_a_span_of_a_task_that_is_not_there_is_never_stored(world: World, agent: AgentParty) -> None:
    hidden, deleted = await world.bob.make_task(agent), await world.alice.make_task(agent)
    await world.alice.delete(f"/tasks/{deleted['id']}")
    own = await write(world.alice)
    for party, task in (
        (world.alice, hidden["id"]),
        (world.mallory, hidden["id"]),
        (world.alice, deleted["id"]),
        (world.alice, new_id()),
    ):
        body = {"trace_id": "orphan", "name": "x", "start_time": AT, "task_id": task}
        assert (await party.post("/spans", body)).status_code == 404
    for task in (hidden["id"], deleted["id"], new_id()):
        assert (await world.alice.call("PATCH", f"/spans/{own['id']}", json={"task_id": task})).status_code == 404
    assert await world.seed.fetch("SELECT id FROM spans WHERE trace_id = 'orphan'") == []
    assert (await world.alice.get(f"/spans/{own['id']}")).json() == own


async def test_a_span_that_gets_a_task_asks_the_task_from_then_on(world: World, agent: AgentParty) -> None:
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.bot, "viewer")
    span = await write(world.alice)
    path = f"/spans/{span['id']}"
    assert (await world.bot.get(path)).status_code == 404
    assert (await world.alice.call("PATCH", path, json={"task_id": task["id"]})).json()["task_id"] == task["id"]
    assert (await world.bot.get(path)).status_code == 200
    assert (await world.bot.call("PATCH", path, json={"name": "x"})).status_code == 403
    await world.alice.delete(f"/tasks/{task['id']}")
    assert (await world.alice.get(path)).status_code == 404


async def test_a_span_without_a_task_is_for_its_writer_and_the_agents_editors(world: World, agent: AgentParty) -> None:
    by_alice, by_agent = await write(world.alice), await write(agent)
    readers = {by_alice["id"]: (world.alice,), by_agent["id"]: (agent, world.bob, world.root)}
    everybody = (world.alice, world.bob, world.root, world.bot, world.viewer, agent, world.mallory)
    for span, allowed in readers.items():
        for party in everybody:
            expected = 200 if party in allowed else 404
            assert (await party.get(f"/spans/{span}")).status_code == expected, (party.name, span)
            patched = await party.call("PATCH", f"/spans/{span}", json={"name": "changed"})
            assert patched.status_code == expected, (party.name, span)
    for party in everybody:
        expected_ids = [span for span, allowed in readers.items() if party in allowed]
        assert await ids_of(party, trace_id="trace") == expected_ids, party.name
    refused = await world.viewer.post("/spans", {"trace_id": "t", "name": "x", "start_time": AT})
    assert refused.status_code == 403


async def test_a_trace_shows_each_reader_the_tasks_that_he_may_read(world: World, agent: AgentParty) -> None:
    by_alice, by_bot = await world.alice.make_task(agent), await world.bot.make_task(agent)
    seconds = iter(range(10, 60))

    async def at_next_second(party: Party, task: Json | None, **fields: Any) -> str:
        return str((await write(party, task, start_time=f"2031-01-01T00:00:{next(seconds)}Z", **fields))["id"])

    one = await at_next_second(agent, by_alice)
    two = await at_next_second(agent, by_bot)
    own = await at_next_second(world.alice, None)
    other_trace = await at_next_second(agent, by_alice, trace_id="other")
    assert await ids_of(world.alice, trace_id="trace") == [own, one]
    assert await ids_of(world.bot, trace_id="trace") == [two]
    assert await ids_of(agent, trace_id="trace", order_direction="asc") == [one, two]
    assert await ids_of(world.root, trace_id="trace") == [two, one]
    assert await ids_of(world.mallory, trace_id="trace") == []
    assert await ids_of(world.alice, task_id=by_alice["id"]) == [other_trace, one]
    assert await ids_of(world.alice, task_id=by_alice["id"], trace_id="trace") == [one]
    assert (await world.alice.get("/spans", task_id=by_bot["id"])).status_code == 404
    pages = [await ids_of(agent, trace_id="trace", limit=1, page_number=number) for number in (1, 2, 3)]
    assert pages == [[two], [one], []]
    assert (await world.alice.get("/spans")).status_code == 422


async def test_the_spans_of_a_trace_cost_one_statement(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url)
    span: Json = {}
    for _ in range(5):
        task = await own_world.alice.make_task(agent)
        for _ in range(4):
            span = await write(agent, task)
    for path, many in (("/spans?trace_id=trace", 20), (f"/spans/{span['id']}", None)):
        await own_world.alice.get(path)  # the driver looks types up once per connection
        with record_statements(own_server) as statements:
            answer = (await own_world.alice.get(path)).json()
        assert len(statements) == 2, "one for authentication, one for the spans and who may read them"
        assert many is None or len(answer) == many


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": "x" * 257},
        {"trace_id": None},
        {"trace_id": "\x00"},
        {"task_id": "no-uuid"},
        {"name": None},
        {"start_time": None},
        {"start_time": "2031-05-06T07:08:09"},
        {"end_time": "never"},
        {"input": "text"},
        {"output": [1]},
        {"data": {"a": "\x00"}},
        {"data": {"\x00": 1}},
    ],
)
async def test_a_body_that_does_not_fit(world: World, fields: Json) -> None:
    body = {"trace_id": "t", "name": "x", "start_time": AT, **fields}
    assert (await world.alice.post("/spans", body)).status_code == 422


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "page_number=0", "limit=1000&page_number=11", "order_by=name", "task_id=x"]
)
async def test_a_query_that_does_not_fit(world: World, query: str) -> None:
    assert (await world.alice.get(f"/spans?trace_id=t&{query}")).status_code == 422


async def test_a_list_needs_a_trace_or_a_task(world: World) -> None:
    assert (await world.alice.get("/spans")).status_code == 422
    assert (await world.alice.get("/spans", trace_id="none")).json() == []
