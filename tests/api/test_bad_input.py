"""Input that does not fit: 422 or 413, with the field's name and nothing of what was sent."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.agent import FakeAgent
from support.graph import Json, World, text

from remit.ids import new_id

# Appears in everything that is sent and must appear in no answer.
MARK = "zqxmark"
JSON = {"content-type": "application/json"}
TASK = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture
async def task(world: World, fake: FakeAgent) -> Json:
    world.agents.append(await world.make_agent(fake.url, "async"))
    return await world.alice.make_task(world.agents[0], "task")


def check_invalid(response: httpx.Response, field: str | None, status: int = 422) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert (body["status"], body["code"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert MARK not in response.text
    for leak in (str(Path(__file__).parents[2]), "site-packages", "SELECT", "Traceback", "pydantic", "asyncpg"):
        assert leak not in response.text
    if field is not None:
        assert field in [error["field"] for error in body["errors"]], body["errors"]
        assert body["status_code"] == 10422


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=-1", "query.limit"),
        ("limit=1000000", "query.limit"),
        (f"limit={MARK}", "query.limit"),
        ("limit=1.5", "query.limit"),
        ("limit=" + "9" * 5000, "query.limit"),
        ("page_number=0", "query.page_number"),
        ("page_number=-3", "query.page_number"),
        ("page_number=10000000000000000000000", "query.page_number"),
        ("limit=1000&page_number=11", "query.page_number"),
        (f"cursor={MARK}", "query.cursor"),
        ("cursor=", "query.cursor"),
        (f"order_by={MARK}", "query.order_by"),
        (f"order_by=id;{MARK}", "query.order_by"),
        ("order_direction=asc", "query.order_direction"),
        (f"agent_id={MARK}", "query.agent_id"),
        (f"status={MARK}", "query.status"),
        ("status=DELETED", "query.status"),
        (f"task_metadata={MARK}", "query.task_metadata"),
        ("task_metadata={}", "query.task_metadata"),
        ("task_metadata=[1]", "query.task_metadata"),
        ('task_metadata={"a": NaN}', "query.task_metadata"),
        ('task_metadata={"a": "\\u0000"}', "query.task_metadata"),
        ('task_metadata={"a": "\\ud800"}', "query.task_metadata"),
        ('task_metadata={"a": 1e999}', "query.task_metadata"),
        ('task_metadata={"a":' * 300 + "1" + "}" * 300, "query.task_metadata"),
        (f"relationships={MARK}", "query.relationships"),
        (f"creator={MARK}", "query.creator"),
        (f"creator_user_id={MARK}%00", "query"),
        (f"agent_name=%00{MARK}", "query"),
    ],
)
async def test_a_query_that_does_not_fit(world: World, query: str, field: str) -> None:
    check_invalid(await world.alice.get(f"/tasks?{query}"), field)


async def test_a_query_that_fits_at_the_edge(world: World) -> None:
    for query in (
        "limit=0",
        "limit=1000",
        "limit=1000&page_number=10",
        "order_by=id&order_direction=desc",
        "agent_name=%ff%fe",
        f"creator_user_id={'x' * 5000}",
        "unknown=1",
        'task_metadata={"a": 1e308}',
        'task_metadata={"a": 123456789012345678901234567890}',
    ):
        assert (await world.alice.get(f"/tasks?{query}")).status_code == 200, query


@pytest.mark.parametrize(
    "path",
    [
        "/tasks/{bad}",
        "/tasks/{bad}/stream",
        "/tasks/{bad}/access",
        "/agents/{bad}",
        "/messages/{bad}",
        "/states/{bad}",
        "/events/{bad}",
        "/messages?task_id={bad}",
        "/states?task_id={bad}",
        "/events?task_id={bad}&agent_id={bad}",
    ],
)
async def test_an_id_that_is_none(world: World, path: str) -> None:
    for bad in (MARK, "1", f"{TASK}x", TASK[:-1], TASK.replace("-", ""), f"{{{TASK}}}", "%F0%9F%92%A9", f"{TASK}%0A"):
        response = await world.alice.call("GET", path.replace("{bad}", bad))
        check_invalid(response, None)
        assert response.json()["errors"][0]["message"] == "must be a UUID"
    assert (await world.alice.call("GET", path.replace("{bad}", TASK.upper()))).status_code == 404


async def test_the_character_null_in_a_path(world: World) -> None:
    for path in ("/tasks/name/%00", f"/tasks/name/{MARK}%00", "/agents/name/a%00b", "/%00"):
        check_invalid(await world.alice.get(path), "path")


async def test_names_of_any_text_are_only_absent(world: World) -> None:
    for name in ("%F0%9F%92%A9", "%ff", "..%2f..%2fetc", "'%20OR%201=1--", "x" * 4000, "%ED%A0%80", "a%5cb"):
        assert (await world.alice.get(f"/tasks/name/{name}")).status_code == 404, name


BODIES: list[tuple[bytes, str]] = [
    (b"", "body"),
    (b"{", "body"),
    (b"null", "body"),
    (b"[]", "body"),
    (b'"zqxmark"', "body"),
    (b'{"task_id": "%s"' % MARK.encode(), "body"),
    (b'{"task_id": NaN}', "body"),
    (b"\xff\xfe\x00", "body"),
    (b"[" * 100_000, "body"),
    (b'{"a":' * 100 + b"1" + b"}" * 100, "body"),
    (b"{}", "body.task_id"),
    (b'{"task_id": 1}', "body.task_id"),
    (b'{"task_id": "zqxmark", "content": {"type": "text", "author": "user", "content": "x"}}', "body.task_id"),
    (b'{"task_id": "%s", "content": "zqxmark"}' % TASK.encode(), "body.content"),
    (b'{"task_id": "%s", "content": {"type": "zqxmark"}}' % TASK.encode(), "body.content"),
    (b'{"task_id": "%s", "content": {"type": "text", "author": "user", "content": "zqxmark\\u0000"}}' % TASK.encode(),
     "body.content.content"),
    (b'{"task_id": "%s", "content": {"type": "data", "author": "user", "data": {"zqx\\u0000": 1}}}' % TASK.encode(),
     "body.content.data"),
    (b'{"task_id": "%s", "content": {"type": "text", "author": "user", "content": "\\ud83d"}}' % TASK.encode(), "body"),
    (b'{"task_id": "%s", "content": {"type": "text", "author": "zqxmark", "content": "x"}}' % TASK.encode(),
     "body.content.text.author"),
    (b'{"task_id": "%s", "content": {"type": "text", "author": "user", "content": "x"}, "created_at": "zqxmark"}'
     % TASK.encode(), "body.created_at"),
    (b'{"task_id": "%s", "content": {"type": "text", "author": "user", "content": "x"}, "created_at": '
     b'"2026-01-01T00:00:00"}' % TASK.encode(), "body.created_at"),
    (b'{"task_id": "%s", "content": {"type": "text", "author": "user", "content": "x"}, "created_at": '
     b'"0001-01-01T00:00:00+14:00"}' % TASK.encode(), "body.created_at"),
    (b'{"task_id": "%s", "content": {"type": "text", "author": "user", "content": "x"}, "created_at": 1e300}'
     % TASK.encode(), "body.created_at"),
    (b'{"task_id": "%s", "content": {"type": "text", "author": "user", "content": "x"}, "streaming_status": "zqxmark"}'
     % TASK.encode(), "body.streaming_status"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), BODIES)
async def test_a_body_that_does_not_fit(world: World, body: bytes, field: str) -> None:
    check_invalid(await world.alice.call("POST", "/messages", content=body, headers=JSON), field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.subject_type"),
        ({"subject_type": MARK, "subject_id": "bob", "role": "viewer"}, "body.subject_type"),
        ({"subject_type": "user", "subject_id": "", "role": "viewer"}, "body.subject_id"),
        ({"subject_type": "user", "subject_id": "x" * 513, "role": "viewer"}, "body.subject_id"),
        ({"subject_type": "user", "subject_id": "bob", "role": "admin"}, "body.role"),
        ({"subject_type": "user", "subject_id": "bob", "role": "viewer", "expires_at": MARK}, "body.expires_at"),
        (
            {"subject_type": "user", "subject_id": "bob", "role": "viewer", "expires_at": "0001-01-01T00:00:00+14:00"},
            "body.expires_at",
        ),
    ],
)
async def test_a_share_that_does_not_fit(world: World, task: Json, body: Json, field: str) -> None:
    check_invalid(await world.alice.put(f"/tasks/{task['id']}/access", body), field)


async def test_json_that_is_too_deep_or_too_wide_a_number(world: World, task: Json) -> None:
    path = f"/tasks/{task['id']}"
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    check_invalid(await world.alice.put(path, {"task_metadata": {"a": deep}}), "body")
    for number in ("1e999", "-1e999", "Infinity"):
        content = f'{{"task_metadata": {{"a": {number}}}}}'.encode()
        check_invalid(await world.alice.call("PUT", path, content=content, headers=JSON), "body")
    fits = b'{"task_metadata": {"a": [18446744073709551615, -9223372036854775808, 1e308, 5e-324]}}'
    response = await world.alice.call("PUT", path, content=fits, headers=JSON)
    assert response.status_code == 200, response.text
    stored = (await world.alice.get(path)).json()["task_metadata"]["a"]
    assert stored[:3] == [18446744073709551615, -9223372036854775808, 1e308]


async def test_text_of_every_kind_comes_back_as_it_was(world: World, task: Json) -> None:
    said = "\u0001\t\n\r\x1f\x7f\u2028\ufeff\ufffe\U0001f4a9'\";--\\u0000%s{}"
    sent = await world.alice.post("/messages", {"task_id": task["id"], "content": text(said)})
    assert (await world.alice.get(f"/messages/{sent.json()['id']}")).json()["content"]["content"] == said


async def test_a_body_over_the_limit_is_413(world: World, task: Json) -> None:
    large = json.dumps({"task_metadata": {"a": MARK + "x" * 5_000_000}}).encode()
    path = f"/tasks/{task['id']}"
    check_invalid(await world.alice.call("PUT", path, content=large), None, 413)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 100_000):
            yield large[start : start + 100_000]

    check_invalid(await world.alice.call("PUT", path, content=chunks()), None, 413)
    assert (await world.alice.get(path)).json()["task_metadata"] is None
    below = {"task_metadata": {"a": "x" * 3_900_000}}
    assert (await world.alice.put(path, below)).status_code == 200


async def test_a_body_of_another_type_is_not_read_as_json(world: World, task: Json) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = await world.alice.call("PUT", f"/tasks/{task['id']}", content=f"a={MARK}", headers=headers)
    check_invalid(response, "body")


async def test_a_route_or_a_method_that_is_none(world: World) -> None:
    missing = await world.alice.get(f"/{MARK}")
    assert (missing.status_code, missing.json()["code"]) == (404, 404)
    wrong = await world.alice.call("PATCH", "/tasks")
    assert (wrong.status_code, wrong.json()["code"], wrong.headers["allow"]) == (405, 405, "GET")
    assert MARK not in missing.text


async def test_a_child_must_belong_to_the_task_that_is_named(world: World, task: Json) -> None:
    other = await world.alice.make_task(world.agents[0])
    message = (await world.alice.post("/messages", {"task_id": task["id"], "content": text("x")})).json()
    body = {"task_id": other["id"], "content": text("moved")}
    assert (await world.alice.put(f"/messages/{message['id']}", body)).status_code == 404
    for agent_id in (new_id(), (await world.make_agent(None, owner=world.alice)).id):
        foreign = {"task_id": task["id"], "agent_id": agent_id, "state": {}}
        check_invalid(await world.alice.post("/states", foreign), "body.agent_id")
        events = await world.alice.get("/events", task_id=task["id"], agent_id=agent_id)
        check_invalid(events, "query.agent_id")
    assert await world.seed.fetch("SELECT 1 FROM states WHERE task_id = $1", task["id"]) == []
    state = {"task_id": task["id"], "agent_id": world.agents[0].id, "state": {}}
    assert (await world.alice.post("/states", state)).status_code == 200
    assert (await world.alice.post("/states", state)).status_code == 409
