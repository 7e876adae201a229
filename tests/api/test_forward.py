"""Forward routes: what lets a request through to an agent, what reaches it, and what comes back."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from support.graph import AgentParty, Json, World, make_world

SECRET = "a-signing-secret-of-somebody"
PAYLOAD = {"repository": {"full_name": "acme/site"}, "action": "opened"}


class Webhooks:
    """An agent that answers plain HTTP and keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer = (
            b"HTTP/1.1 202 Accepted\r\ncontent-type: text/html\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\nok"
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((first, headers, body))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def hooks() -> AsyncIterator[tuple[str, Webhooks]]:
    webhooks = Webhooks()
    server = await asyncio.start_server(webhooks.serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", webhooks
    server.close()


async def make_key(world: World, agent: AgentParty, key_type: str, name: str = "key", secret: str | None = None) -> str:
    body = {"agent_id": agent.id, "name": name, "api_key_type": key_type, "api_key": secret}
    response = await world.root.post("/agent_api_keys", body)
    assert response.status_code == 200, response.text
    return str(response.json()["api_key"])


def github(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def slack(body: bytes, secret: str = SECRET, age: int = 0) -> dict[str, str]:
    sent = str(int(time.time()) - age)
    signature = "v0=" + hmac.new(secret.encode(), f"v0:{sent}:".encode() + body, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": sent, "x-slack-signature": signature}


async def send(
    world: World, agent: AgentParty, headers: dict[str, str], body: bytes = b"{}", path: str = "hook"
) -> httpx.Response:
    url = f"/agents/forward/name/{agent.name}/{path}"
    return await world.seed.http.post(url, headers={"content-type": "application/json", **headers}, content=body)


async def test_an_external_key_of_the_agent_opens_it(world: World, hooks: tuple[str, Webhooks]) -> None:
    url, webhooks = hooks
    agent, other = await world.make_agent(url), await world.make_agent(url)
    key = await make_key(world, agent, "external")
    for headers in (
        {"x-agent-api-key": key},
        {"authorization": f"AgentKey {key}"},
        {"authorization": f"agentkey {key}"},
    ):
        answer = await send(
            world, agent, {**headers, "x-custom": "1", "cookie": "c", "x-api-key-2": "s"}, b"raw", "a%20b/c?x=1&y=%2F"
        )
        assert (answer.status_code, answer.text) == (202, "ok")
        assert "set-cookie" not in answer.headers
        assert answer.headers["content-security-policy"] == "sandbox"
        first, sent, body = webhooks.requests.pop()
        assert first == "POST /a%20b/c?x=1&y=%2F HTTP/1.1"
        assert (body, sent["x-custom"], sent["content-type"]) == (b"raw", "1", "application/json")
        assert not {"authorization", "cookie", "x-agent-api-key", "x-api-key-2"} & set(sent)
        assert key not in str(sent)
        assert (await send(world, other, headers)).status_code == 401
    answer = await world.seed.http.get(f"/agents/forward/name/{agent.name}/x", headers={"x-agent-api-key": key})
    assert answer.status_code == 202
    assert webhooks.requests.pop()[0] == "GET /x HTTP/1.1"
    assert webhooks.requests == []


async def test_other_keys_of_the_agent_do_not(world: World, hooks: tuple[str, Webhooks]) -> None:
    url, webhooks = hooks
    agent = await world.make_agent(url)
    for key_type in ("github", "slack"):
        key = await make_key(world, agent, key_type)
        for headers in ({"x-agent-api-key": key}, {"authorization": f"AgentKey {key}"}):
            assert (await send(world, agent, headers)).status_code == 401
    assert webhooks.requests == []


@pytest.mark.parametrize("form", [False, True])
async def test_github_signs_with_the_key_of_its_repository(
    world: World, hooks: tuple[str, Webhooks], form: bool
) -> None:
    url, webhooks = hooks
    agent = await world.make_agent(url)
    await make_key(world, agent, "github", "acme/site", SECRET)
    await make_key(world, agent, "github", "acme/other", "another-signing-secret")
    text = json.dumps(PAYLOAD)
    body = (
        f"payload={httpx.QueryParams({'p': text})}".replace("payload=p=", "payload=").encode()
        if form
        else text.encode()
    )
    more = {"content-type": "application/x-www-form-urlencoded"} if form else {}
    good = await send(world, agent, {**github(body), **more, "x-github-event": "pull_request"}, body)
    assert good.status_code == 202, good.text
    _, sent, received = webhooks.requests.pop()
    assert (received, sent["x-github-event"]) == (body, "pull_request")
    for headers in (
        github(body, "another-signing-secret"),
        github(body + b" "),
        {"x-hub-signature-256": "sha256=" + "0" * 64},
        {"x-hub-signature-256": "nonsense é"},
    ):
        encoded = {name.encode(): value.encode("latin-1") for name, value in {**headers, **more}.items()}
        url = f"/agents/forward/name/{agent.name}/hook"
        answer = await world.seed.http.post(url, headers=list(encoded.items()), content=body)
        assert answer.status_code == 401, headers
    assert webhooks.requests == []


async def test_a_payload_that_does_not_say_who_signed_is_400(world: World) -> None:
    agent = await world.make_agent("http://127.0.0.1:9")
    for body in (b"", b"not json", b"[]", b"{}", b'{"repository": 1}', b'{"repository": {"full_name": 7}}'):
        assert (await send(world, agent, github(body), body)).status_code == 400, body
        assert (await send(world, agent, slack(body), body)).status_code == 400, body


async def test_slack_signs_with_the_key_of_its_app_and_not_long_ago(world: World, hooks: tuple[str, Webhooks]) -> None:
    url, webhooks = hooks
    agent = await world.make_agent(url)
    await make_key(world, agent, "slack", "A1", SECRET)
    body = json.dumps({"api_app_id": "A1", "event": {}}).encode()
    assert (await send(world, agent, slack(body), body)).status_code == 202
    command = b"api_app_id=A1&text=hi"
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await send(world, agent, {**slack(command), **form}, command)).status_code == 202
    webhooks.requests.clear()
    late, early = slack(body, age=301), slack(body, age=-301)
    wrong = slack(body, "another-signing-secret")
    moved = {**slack(body), "x-slack-request-timestamp": str(int(time.time()) - 7)}
    for headers in (late, early, wrong, moved, {**slack(body), "x-slack-request-timestamp": "now"}):
        assert (await send(world, agent, headers, body)).status_code == 401
    assert webhooks.requests == []


async def test_a_challenge_is_echoed_only_when_it_is_signed(world: World, hooks: tuple[str, Webhooks]) -> None:
    url, webhooks = hooks
    agent = await world.make_agent(url)
    await make_key(world, agent, "slack", "A1", SECRET)
    body = json.dumps({"type": "url_verification", "challenge": "<script>prove it</script>"}).encode()
    answer = await send(world, agent, slack(body), body)
    assert (answer.status_code, answer.text) == (200, "<script>prove it</script>")
    assert answer.headers["content-type"].startswith("text/plain")
    unsigned = {"x-slack-request-timestamp": str(int(time.time()))}
    for headers in (slack(body, "another-signing-secret"), slack(body, age=301), unsigned):
        refused = await send(world, agent, headers, body)
        assert refused.status_code == 401
        assert "prove it" not in refused.text
    assert webhooks.requests == []


async def test_strangers_learn_nothing(world: World) -> None:
    agent = await world.make_agent("http://127.0.0.1:9")
    await make_key(world, agent, "github", "acme/site", SECRET)
    body = json.dumps(PAYLOAD).encode()
    absent = AgentParty(world.seed.http, "agent", "", "no-such-agent", "", None)
    unknown = json.dumps({"repository": {"full_name": "acme/unknown"}}).encode()

    def told(answer: httpx.Response) -> Json:
        return {name: value for name, value in answer.json().items() if name != "request_id"}

    answers = [
        await send(world, agent, github(body, "wrong"), body),
        await send(world, agent, github(unknown), unknown),
        await send(world, absent, github(body), body),
    ]
    assert [answer.status_code for answer in answers] == [401] * 3
    assert told(answers[0]) == told(answers[1]) == told(answers[2])
    assert (await send(world, agent, {})).status_code == (await send(world, absent, {})).status_code == 401


async def test_whoever_may_execute_the_agent_is_let_through(world: World, hooks: tuple[str, Webhooks]) -> None:
    url, webhooks = hooks
    agent = await world.make_agent(url, private=True, owner=world.alice)
    path = f"/agents/forward/name/{agent.name}/x"
    assert (await world.alice.post(path, {})).status_code == 202
    assert (await agent.post(path, {})).status_code == 202
    webhooks.requests.clear()
    for party in (world.bob, world.mallory):
        assert (await party.post(path, {})).status_code == 404
    assert (await world.nobody.post(path, {})).status_code == 401
    assert webhooks.requests == []


@pytest.mark.parametrize(
    "path", ["api", "API", "api/x", "%61pi", "a/../api", "..%2Fapi", "%2E%2E/api", "a//b", "a%5Cb", "a%0Ab", "/api"]
)
async def test_paths_that_lead_elsewhere_are_refused(world: World, hooks: tuple[str, Webhooks], path: str) -> None:
    url, webhooks = hooks
    agent = await world.make_agent(url)
    key = await make_key(world, agent, "external")
    request = world.seed.http.build_request("POST", "/x", headers={"x-agent-api-key": key})
    raw = f"/agents/forward/name/{agent.name}/{path}".encode()
    request.url = request.url.copy_with(raw_path=raw)
    answer = await world.seed.http.send(request)
    assert answer.status_code in (400, 404), answer.text
    assert webhooks.requests == []


async def test_the_same_name_in_two_tenants_is_told_apart_by_the_key(world: World, hooks: tuple[str, Webhooks]) -> None:
    url, webhooks = hooks
    other_world = await make_world(world.seed)
    mine = await world.make_agent(url)
    theirs = await other_world.make_agent(None, name=mine.name)
    await make_key(world, mine, "github", "acme/site", SECRET)
    await make_key(other_world, theirs, "github", "acme/site", "another-signing-secret")
    body = json.dumps(PAYLOAD).encode()
    assert (await send(world, mine, github(body), body)).status_code == 202
    assert (await send(world, mine, github(body, "another-signing-secret"), body)).status_code == 404
    assert len(webhooks.requests) == 1
    await world.seed.execute("UPDATE tenants SET disabled_at = now() WHERE id = $1", world.tenant_id)
    assert (await send(world, mine, github(body), body)).status_code == 401


async def test_an_agent_that_misbehaves_is_502(world: World, hooks: tuple[str, Webhooks]) -> None:
    url, webhooks = hooks
    agent = await world.make_agent(url)
    key = {"x-agent-api-key": await make_key(world, agent, "external")}
    for answer in (
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 17 * 1024 * 1024,
    ):
        webhooks.answer = answer
        told = await send(world, agent, key)
        assert told.status_code == 502
        assert url not in told.text
    webhooks.answer = b"HTTP/1.1 418 Teapot\r\ncontent-length: 0\r\n\r\n"
    assert (await send(world, agent, key)).status_code == 418
