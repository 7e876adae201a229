"""JSON-RPC: ids come back, and what is refused before an agent is called is a 4xx with both kinds of error."""

import json
from typing import Any

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, World, text

from remit.ids import new_id


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url)


def check_refused(response: Any, status: int, code: int, id: object = None) -> None:
    """Both a problem document and a JSON-RPC error, which agree."""
    body = response.json()
    assert response.status_code == status, response.text
    assert (body["jsonrpc"], body["id"], body["result"]) == ("2.0", id, None)
    assert (body["error"]["code"], body["error"]["message"]) == (code, body["message"])
    assert (body["status"], body["code"]) == (status, status)
    assert body["type"].startswith("urn:remit:problem:")
    assert body["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("id", ["text", "", 7, -1, 0, 2**53, 1.5, None])
async def test_the_callers_id_comes_back(world: World, agent: AgentParty, id: object) -> None:
    for response in (
        await world.alice.rpc(agent, "task/create", id=id),
        await world.alice.rpc(agent, "task/create", id=id, jsonrpc="2.0"),
    ):
        answer = response.json()
        assert (answer["id"], answer["jsonrpc"], answer["error"]) == (id, "2.0", None)
    refused = await world.alice.rpc(agent, "no/such", id=id)
    check_refused(refused, 422, -32601, id)


async def test_a_call_without_an_id_is_answered(world: World, agent: AgentParty) -> None:
    answer = (await world.alice.rpc(agent, "task/create")).json()
    assert answer["id"] is None
    assert answer["result"]["id"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"method": "task/create",}', -32700),
        (b'{"method": NaN}', -32700),
        (b'{"method": "\\ud800"}', -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 2000, -32700),
        (b"[]", -32600),
        (b"null", -32600),
        (b'"text"', -32600),
        (b'[{"method": "task/create"}]', -32600),
        (b"{}", -32600),
        (b'{"method": 1}', -32600),
        (b'{"method": null}', -32600),
        (b'{"method": "task/create", "jsonrpc": "1.0"}', -32600),
        (b'{"method": "task/create", "params": []}', -32600),
        (b'{"method": "task/create", "id": {}}', -32600),
        (b'{"method": "task/create", "id": true}', -32600),
        (b'{"method": "task/destroy"}', -32601),
        (b'{"method": ""}', -32601),
        (b'{"method": "TASK/CREATE", "params": {}}', -32601),
        (b'{"method": "task/create", "params": {"name": 1}}', -32602),
        (b'{"method": "task/create", "params": {"params": [1]}}', -32602),
        (b'{"method": "message/send", "params": {}}', -32602),
        (b'{"method": "message/send", "params": {"content": "text"}}', -32602),
        (b'{"method": "message/send", "params": {"content": {"type": "video", "author": "user"}}}', -32602),
        (b'{"method": "task/cancel", "params": {"task_id": "not-an-id"}}', -32602),
    ],
)
async def test_what_is_no_call_is_refused_before_anything_happens(
    world: World, agent: AgentParty, fake: FakeAgent, body: bytes, code: int
) -> None:
    for path in (f"/agents/{agent.id}/rpc", f"/agents/name/{agent.name}/rpc"):
        response = await world.alice.call("POST", path, content=body)
        check_refused(response, 422, code)
    assert fake.calls == []
    assert (await world.alice.get("/tasks")).json() == []


async def test_a_refusal_names_the_field_and_not_what_was_sent(world: World, agent: AgentParty) -> None:
    params = {"content": {"type": "text", "author": "SENTINEL", "content": ["SENTINEL"]}, "task_id": "SENTINEL"}
    response = await world.alice.rpc(agent, "message/send", params, id=3)
    check_refused(response, 422, -32602, 3)
    fields = {error["field"] for error in response.json()["errors"]}
    assert fields == {"body.params.task_id", "body.params.content.text.author", "body.params.content.text.content"}
    assert "SENTINEL" not in response.text
    assert response.json()["status_code"] == 10422


async def test_a_task_is_named_once(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent, "name")
    both = {"task_id": task["id"], "task_name": "name"}
    for method in ("event/send", "task/cancel", "task/interrupt"):
        check_refused(await world.alice.rpc(agent, method, both, id=1), 422, -32602, 1)
        check_refused(await world.alice.rpc(agent, method, {}, id=1), 400, -32602, 1)
    sync = await world.make_agent(fake.url)
    sent = await world.alice.rpc(sync, "message/send", {**both, "content": text("x")}, id=1)
    check_refused(sent, 422, -32602, 1)


async def test_every_refusal_has_both_kinds_of_error(world: World, agent: AgentParty, fake: FakeAgent) -> None:
    silent = await world.make_agent(None)
    task = await world.alice.make_task(agent, "name")
    await world.alice.share(task, world.viewer, "viewer")
    ended = await world.alice.make_task(agent)
    await world.alice.post(f"/tasks/{ended['id']}/complete")
    this = {"task_id": task["id"]}
    for response, status, code in (
        (await world.alice.rpc(agent, "task/cancel", this, id=1), 400, -32602),
        (await world.alice.rpc(agent, "event/send", this, id=1), 400, -32602),
        (await world.alice.rpc(silent, "message/send", {"content": text("x")}, id=1), 400, -32602),
        (await world.alice.send(agent, ended, id=1), 400, -32602),
        (await world.alice.rpc(agent, "task/cancel", {"task_id": new_id()}, id=1), 404, -32004),
        (await world.alice.rpc("no-such-agent", "task/create", id=1), 404, -32004),
        (await world.viewer.rpc(agent, "message/send", {**this, "content": text("x")}, id=1), 403, -32003),
    ):
        check_refused(response, status, code, 1)
    assert fake.calls == []


async def test_what_is_refused_before_the_body_is_read_has_both_as_well(world: World, agent: AgentParty) -> None:
    check_refused(await world.nobody.rpc(agent, "task/create", id=1), 401, -32001)
    check_refused(await world.alice.post("/agents/not-an-id/rpc", {"method": "task/create"}), 422, -32602)
    large = json.dumps({"method": "task/create", "params": {"params": {"a": "x" * 5_000_000}}})
    check_refused(await world.alice.call("POST", f"/agents/{agent.id}/rpc", content=large), 413, -32600)

    async def chunks() -> Any:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536].encode()

    check_refused(await world.alice.call("POST", f"/agents/{agent.id}/rpc", content=chunks()), 413, -32600)
