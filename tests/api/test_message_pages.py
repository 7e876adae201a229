"""Messages page by page in both directions: every message is met, whatever arrives meanwhile; and filters."""

import base64
import json
from typing import Any

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World, text

from remit.ids import new_id


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url, "async")


@pytest.fixture
async def task(world: World, agent: AgentParty) -> Json:
    return await world.alice.make_task(agent)


async def say(party: Party, task: Json, *words: str, at: str | None = None) -> None:
    for word in words:
        body = {"task_id": task["id"], "content": text(word, "agent"), "created_at": at}
        assert (await party.post("/messages", body)).status_code == 200


async def page(party: Party, task: Json, **params: Any) -> tuple[list[str], str | None, bool]:
    response = await party.get("/messages/paginated", task_id=task["id"], **params)
    assert response.status_code == 200, response.text
    body = response.json()
    return [message["content"]["content"] for message in body["data"]], body["next_cursor"], body["has_more"]


async def walk(party: Party, task: Json, cursor: str | None, **params: Any) -> list[list[str]]:
    """The pages from a cursor on."""
    pages = []
    while True:
        given = {"cursor": cursor} if cursor else {}
        words, cursor, has_more = await page(party, task, **given, **params)
        pages.append(words)
        assert has_more == (cursor is not None)
        if cursor is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_older_pages_meet_every_message(world: World, agent: AgentParty, task: Json, limit: int) -> None:
    await say(agent, task, "a", "b", at="2031-01-01T00:00:00.000001Z")  # of one moment: told apart by their ids
    await say(agent, task, "c", "d", "e", at="2031-01-01T00:00:00.000002Z")
    await say(agent, task, "f", "g", at="2031-01-01T00:00:00.000003Z")
    listed = [m["content"]["content"] for m in (await agent.get("/messages", task_id=task["id"])).json()]
    pages = await walk(world.alice, task, None, limit=limit)
    assert [word for words in pages for word in words] == listed
    assert {len(words) for words in pages[:-1]} <= {limit}


async def test_a_list_goes_either_way(world: World, agent: AgentParty, task: Json) -> None:
    await say(agent, task, "a", "b", "c")
    for direction, expected in (("asc", ["a", "b"]), ("desc", ["c", "b"])):
        listed = await world.alice.get("/messages", task_id=task["id"], order_direction=direction, limit=2)
        assert [message["content"]["content"] for message in listed.json()] == expected
    last = await world.alice.get("/messages", task_id=task["id"], order_direction="asc", limit=2, page_number=2)
    assert [message["content"]["content"] for message in last.json()] == ["c"]
    for query in ({"order_direction": "up"}, {"cursor": new_id()}):
        assert (await world.alice.get("/messages", task_id=task["id"], **query)).status_code == 422


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_newer_pages_skip_no_gap(world: World, agent: AgentParty, task: Json, limit: int) -> None:
    await say(agent, task, "a", "b")
    _, cursor, _ = await page(world.alice, task, limit=1)  # stands on b
    await say(agent, task, "c", "d", "e", at="2131-01-01T00:00:00.000002Z")
    await say(agent, task, "f", "g", at="2131-01-01T00:00:00.000003Z")
    listed = [m["content"]["content"] for m in (await agent.get("/messages", task_id=task["id"])).json()]
    pages = await walk(world.alice, task, cursor, limit=limit, direction="newer")
    # Each page is newest first and lies next to the one before: turned round, they are the list.
    assert [word for words in reversed(pages) for word in words] == listed[: listed.index("b")]


async def test_there_and_back_again(world: World, agent: AgentParty, task: Json) -> None:
    await say(agent, task, *"abcdef")
    newest, cursor, _ = await page(world.alice, task, limit=2)
    assert newest == ["f", "e"]
    older, cursor, _ = await page(world.alice, task, limit=2, cursor=cursor)
    assert older == ["d", "c"]
    await say(agent, task, "g")
    assert await walk(world.alice, task, cursor, limit=2, direction="newer") == [["e", "d"], ["g", "f"]]


async def test_the_end_of_each_direction(world: World, agent: AgentParty, task: Json) -> None:
    assert await page(world.alice, task) == ([], None, False)
    await say(agent, task, *"abc")
    assert await page(world.alice, task, limit=3) == (["c", "b", "a"], None, False)
    assert await page(world.alice, task, limit=0) == (["c", "b", "a"], None, False)
    # Without a place to go on from both directions begin at the newest messages, which is the end for one of them.
    assert await page(world.alice, task, limit=2, direction="newer") == (["c", "b"], None, False)
    _, cursor, _ = await page(world.alice, task, limit=1)
    assert await page(world.alice, task, cursor=cursor, direction="newer") == ([], None, False)


def cursor_of(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


# The same in each worker that collects the tests.
AN_ID = "0199c3a0-5f6e-7d3c-9b1a-2f4e6d8c0a1b"


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "ü",
        "=" * 1000,
        cursor_of(7),
        cursor_of([]),
        cursor_of({"v": 2, "id": AN_ID, "created_at": "2031-01-01T00:00:00Z"}),
        cursor_of({"v": 1, "id": "x", "created_at": "2031-01-01T00:00:00Z"}),
        cursor_of({"v": 1, "id": None, "created_at": "2031-01-01T00:00:00Z"}),
        cursor_of({"v": 1, "id": AN_ID, "created_at": "2031-01-01T00:00:00"}),
        cursor_of({"v": 1, "id": AN_ID, "created_at": "0001-01-01T00:00:00+14:00"}),
        cursor_of({"v": 1, "id": AN_ID, "created_at": 5}),
        cursor_of({"v": 1, "id": AN_ID}),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
@pytest.mark.parametrize("direction", ["older", "newer"])
async def test_a_bad_cursor_is_as_none(
    world: World, agent: AgentParty, task: Json, cursor: str, direction: str
) -> None:
    await say(agent, task, "a", "b")
    assert (await page(world.alice, task, cursor=cursor, direction=direction))[0] == ["b", "a"]


async def test_the_form_of_a_cursor(world: World, agent: AgentParty, task: Json) -> None:
    await say(agent, task, "a", "b")
    response = (await world.alice.get("/messages/paginated", task_id=task["id"], limit=1)).json()
    place = json.loads(base64.urlsafe_b64decode(response["next_cursor"]))
    assert (place["v"], place["id"]) == (1, response["data"][0]["id"])
    assert set(place) == {"v", "id", "created_at"}


async def test_a_cursor_shows_nothing_of_another_task(world: World, agent: AgentParty, task: Json) -> None:
    hidden = await world.bob.make_task(agent)
    await say(agent, hidden, "x", "y", "z")
    _, cursor, _ = await page(world.bob, hidden, limit=1)
    await say(agent, task, "a")
    assert (await page(world.alice, task, cursor=cursor))[0] == []
    assert (await page(world.alice, task, cursor=cursor, direction="newer"))[0] == ["a"]


CONTENTS = {
    "text": text("text", "user"),
    "code": {**text("code", "agent"), "format": "code"},
    "report": {"type": "data", "author": "agent", "data": {"type": "report", "n": {"deep": [1, 2]}, "nil": None}},
    "error": {"type": "data", "author": "agent", "data": {"type": "error", "n": 1}},
    "call": {
        "type": "tool_request",
        "author": "agent",
        "tool_call_id": "1",
        "name": "f",
        "arguments": {"type": "error"},
    },
}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"content": {"type": "text"}}, "text code"),
        ([{"content": {"type": "text"}}, {"content": {"type": "data"}}], "text code report error"),
        ({"content": {"data": {"type": "report"}}}, "report"),
        ({"content": {"author": "agent", "type": "text"}}, "code"),
        ({"content": {"data": {"n": {"deep": [1, 2]}}}}, "report"),
        ({"content": {"data": {"n": {"deep": [1]}}}}, ""),
        ({"content": {"data": {"n": 1.0}}}, "error"),
        ({"content": {"data": {"nil": None}}}, "report"),
        ({"content": {"type": "data", "name": None}}, "report error"),
        ({"content": {"nothing": 1}}, ""),
        ({"streaming_status": "DONE"}, "error"),
        ({"streaming_status": "IN_PROGRESS", "content": None}, "report"),
        ({"streaming_status": "DONE", "content": {"type": "text"}}, ""),
        ([{"content": {"type": "data"}}, {"content": {"data": {"type": "error"}}, "exclude": True}], "report"),
        ({"content": {"type": "text"}, "exclude": True}, "report error call"),
        (
            [{"content": {"type": "text"}, "exclude": True}, {"content": {"author": "agent"}, "exclude": True}],
            "",
        ),
        ([], "text code report error call"),
        ({}, "text code report error call"),
        ({"exclude": True}, ""),
        (None, "text code report error call"),
    ],
)
async def test_filters_choose_messages(
    world: World, agent: AgentParty, task: Json, filters: Any, expected: str
) -> None:
    names = {}
    for name, content in CONTENTS.items():
        status = {"report": "IN_PROGRESS", "error": "DONE"}.get(name)
        body = {"task_id": task["id"], "content": content, "streaming_status": status}
        names[(await agent.post("/messages", body)).json()["id"]] = name
    given = {"filters": json.dumps(filters)} if filters is not None else {}
    listed = (await world.alice.get("/messages", task_id=task["id"], **given)).json()
    assert [names[message["id"]] for message in reversed(listed)] == expected.split()
    paged: list[Json] = []
    params: Json = {"limit": 1, **given}
    while True:
        response = (await world.alice.get("/messages/paginated", task_id=task["id"], **params)).json()
        paged += response["data"]
        if not response["has_more"]:
            break
        params["cursor"] = response["next_cursor"]
    assert paged == listed


@pytest.mark.parametrize(
    ("filters", "status"),
    [
        ("nonsense", 400),
        ("{", 400),
        ("", 400),
        ('{"a": NaN}', 400),
        ("7", 422),
        ("null", 422),
        ('"text"', 422),
        ("[[]]", 422),
        ('{"content": "x"}', 422),
        ('{"contents": {}}', 422),
        ('{"streaming_status": "MAYBE"}', 422),
        ('{"content": {"a": "\\u0000"}}', 422),
        ('{"content":' + '{"a":' * 250 + "1" + "}" * 251, 422),
        (json.dumps([{"content": {"type": "text"}}] * 51), 422),
        (json.dumps({"content": {"a": "x" * 20_000}}), 422),
    ],
)
@pytest.mark.parametrize("path", ["/messages", "/messages/paginated"])
async def test_filters_that_do_not_fit(world: World, task: Json, path: str, filters: str, status: int) -> None:
    response = await world.alice.get(path, task_id=task["id"], filters=filters)
    assert response.status_code == status, response.text


@pytest.mark.parametrize("query", ["limit=-1", "limit=1001", "direction=up", "task_id=x"])
async def test_a_query_that_does_not_fit(world: World, query: str) -> None:
    assert (await world.alice.get(f"/messages/paginated?{query}")).status_code == 422
