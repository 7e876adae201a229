"""Calls to agents, against one that behaves and one that does not, over real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.misbehaving_agent import MisbehavingAgent, delta_line, result_line

from remit.content import TaskMessageUpdate
from remit.rpc import client as client_module
from remit.rpc.answers import AgentError, AgentFailed, AgentRubbish
from remit.rpc.client import AgentClient
from remit.rpc.exchange import AgentDisconnected, AgentTimeout, AgentUnreachable
from remit.rpc.headers import forward_headers
from remit.settings import Settings

TASK = {"id": "t1", "name": None}
AGENT = {"id": "a1", "name": "echo"}
PARAMS: dict[str, Any] = {"agent": AGENT, "task": TASK}
CONTENT = {"type": "text", "author": "agent", "content": "hello"}

HTTP_FAULTS = {
    "answer_no_http": AgentDisconnected,
    "hang_up_at_once": AgentDisconnected,
    "answer_no_json": AgentRubbish,
    "answer_no_rpc": AgentRubbish,
    "answer_another_request": AgentRubbish,
    "answer_without_end": AgentRubbish,
    "head_without_end": AgentDisconnected,
    "trailers_without_end": AgentDisconnected,
    "redirect": AgentRubbish,
    "answer_500": AgentRubbish,
    "answer_compressed": AgentRubbish,
    "answer_broken_error": AgentRubbish,
    "die_in_the_middle": AgentDisconnected,
}


@pytest.fixture
def settings() -> Settings:
    return Settings(
        agent_connect_timeout=20, agent_answer_timeout=20, agent_stream_timeout=20, agent_max_answer_bytes=65536
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[AgentClient]:
    async with AgentClient(settings) as made:
        yield made


@pytest.fixture
async def agent() -> AsyncIterator[MisbehavingAgent]:
    async with MisbehavingAgent() as made:
        yield made


async def call(client: AgentClient, url: str, **headers: str) -> object:
    return await client.call(url, "task/create", PARAMS, request_id="r1", headers=headers)


async def stream(client: AgentClient, url: str) -> list[dict[str, Any]]:
    seen: list[TaskMessageUpdate] = []
    await stream_into(seen, client, url)
    return [update.model_dump(exclude_unset=True) for update in seen]


async def stream_into(seen: list[TaskMessageUpdate], client: AgentClient, url: str) -> None:
    async for update in client.stream(url, PARAMS | {"content": CONTENT, "stream": True}, request_id="r1"):
        seen.append(update)  # noqa: PERF401 - what came before an error must stay, which a comprehension loses


def assert_address_hidden(error: AgentError, agent: MisbehavingAgent) -> None:
    assert str(error)
    assert "127.0.0.1" not in str(error)
    assert str(agent.port) not in str(error)


async def test_a_call_sends_a_json_rpc_request_and_gives_its_result(
    client: AgentClient, agent: MisbehavingAgent
) -> None:
    url = agent.script(result_line({"status": "processing"}))
    assert await call(client, url + "/") == {"status": "processing"}
    request = agent.requests[0]
    assert request.path == "/reply-1/api"
    assert request.body == {"jsonrpc": "2.0", "id": "task/create-t1", "method": "task/create", "params": PARAMS}
    assert request.headers["x-request-id"] == "r1"


async def test_a_result_of_null_is_a_result(client: AgentClient, agent: MisbehavingAgent) -> None:
    assert await call(client, agent.script(result_line(None))) is None


async def test_what_an_agent_sends_after_its_answer_is_left(client: AgentClient, agent: MisbehavingAgent) -> None:
    assert await call(client, agent.address("answer_twice")) == "good"


@pytest.mark.parametrize(("fault", "expected"), HTTP_FAULTS.items(), ids=HTTP_FAULTS.keys())
@pytest.mark.parametrize("use", [call, stream], ids=["call", "stream"])
async def test_each_fault_is_its_typed_error_without_the_address(
    client: AgentClient, agent: MisbehavingAgent, fault: str, expected: type[AgentError], use: Any
) -> None:
    with capture_logs() as logs, pytest.raises(AgentError) as raised:
        await use(client, agent.address(fault))
    assert type(raised.value) is expected
    assert_address_hidden(raised.value, agent)
    assert [(entry["error"], entry["task_id"], entry["address"]) for entry in logs] == [
        (expected.__name__, "t1", agent.address(fault))
    ]
    assert len(agent.requests) == 1


@pytest.mark.parametrize("use", [call, stream], ids=["call", "stream"])
async def test_an_agent_that_is_down_is_unreachable(client: AgentClient, use: Any) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(AgentUnreachable) as raised:
            await use(client, f"http://127.0.0.1:{port}")
    assert str(port) not in str(raised.value)


async def test_an_agent_that_does_not_accept_is_unreachable_after_the_connect_timeout(settings: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):  # a full backlog lets the kernel ignore whoever comes next
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            async with AgentClient(settings.model_copy(update={"agent_connect_timeout": 0.05})) as client:
                with pytest.raises(AgentUnreachable):
                    await call(client, f"http://127.0.0.1:{listener.getsockname()[1]}")


@pytest.mark.parametrize("behaviour", ["hang", "stall_in_the_middle", "dribble"])
async def test_an_agent_without_an_answer_in_time_is_hung_up_on(
    settings: Settings, agent: MisbehavingAgent, behaviour: str
) -> None:
    impatient = settings.model_copy(update={"agent_answer_timeout": 0.2, "agent_max_answer_bytes": 1024})
    async with AgentClient(impatient) as client:
        with pytest.raises(AgentTimeout) as raised:
            await call(client, agent.address(behaviour))
        assert_address_hidden(raised.value, agent)
        await agent.wait_for_ends(1)


async def test_a_gap_in_a_stream_times_out_after_what_came(settings: Settings, agent: MisbehavingAgent) -> None:
    seen: list[TaskMessageUpdate] = []
    async with AgentClient(settings.model_copy(update={"agent_stream_timeout": 0.2})) as client:
        with pytest.raises(AgentTimeout):
            await stream_into(seen, client, agent.address("stall_in_the_middle"))
        assert len(seen) == 1
        await agent.wait_for_ends(1)


async def test_what_came_before_an_agent_died_was_yielded(client: AgentClient, agent: MisbehavingAgent) -> None:
    seen: list[TaskMessageUpdate] = []
    with pytest.raises(AgentDisconnected):
        await stream_into(seen, client, agent.address("die_in_the_middle"))
    assert len(seen) == 1


@pytest.mark.parametrize("behaviour", ["hang", "stall_in_the_middle"])
@pytest.mark.parametrize("use", [call, stream], ids=["call", "stream"])
async def test_cancelling_hangs_up_on_the_agent(
    client: AgentClient, agent: MisbehavingAgent, behaviour: str, use: Any
) -> None:
    task = asyncio.create_task(use(client, agent.address(behaviour)))
    await agent.wait_for_requests(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await agent.wait_for_ends(1)


@pytest.mark.parametrize("behaviour", ["hang", "stall_in_the_middle"])
async def test_closing_the_client_fails_what_is_in_progress(
    settings: Settings, agent: MisbehavingAgent, behaviour: str
) -> None:
    client = AgentClient(settings)
    task = asyncio.create_task(stream(client, agent.address(behaviour)))
    await agent.wait_for_requests(1)
    await client.aclose()
    with pytest.raises(AgentDisconnected):
        await task
    await agent.wait_for_ends(1)


async def test_closing_the_iterator_hangs_up_on_the_agent(client: AgentClient, agent: MisbehavingAgent) -> None:
    updates = client.stream(agent.address("stall_in_the_middle"), PARAMS, request_id="r1")
    async with aclosing(updates):
        await anext(updates)
    await agent.wait_for_ends(1)


async def test_many_slow_agents_do_not_block_another(client: AgentClient, agent: MisbehavingAgent) -> None:
    slow = [asyncio.create_task(call(client, agent.address("hang"))) for _ in range(60)]
    await agent.wait_for_requests(60)
    assert await call(client, agent.address("good")) == "good"
    assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    await agent.wait_for_ends(61)


async def test_one_agent_cannot_take_every_connection(
    client: AgentClient, agent: MisbehavingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_CALLS_PER_AGENT", 1)
    slow = asyncio.create_task(call(client, agent.address("hang")))
    await agent.wait_for_requests(1)
    with pytest.raises(AgentUnreachable, match="Too many calls"):
        await call(client, agent.address("hang"))
    assert await call(client, agent.address("good")) == "good"
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    agent.replies["hang"] = agent.replies["good"]
    again = asyncio.create_task(call(client, agent.address("hang")))
    await agent.wait_for_requests(3)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


async def test_the_agents_own_error_has_its_code_and_words_but_not_its_address(
    client: AgentClient, agent: MisbehavingAgent
) -> None:
    for id in ("$ID", None):
        words = f"no model at http://127.0.0.1:{agent.port}/v1, see 127.0.0.1:{agent.port}"
        error = {"code": -32601, "message": words, "data": {"at": words}}
        url = agent.script(json.dumps({"jsonrpc": "2.0", "id": id, "error": error}))
        with pytest.raises(AgentFailed, match="no model at") as raised:
            await call(client, url)
        assert raised.value.code == -32601
        assert_address_hidden(raised.value, agent)


async def test_updates_come_as_the_agent_sent_them_whatever_the_chunks(
    client: AgentClient, agent: MisbehavingAgent
) -> None:
    body = "\n".join(
        [
            ": a comment",
            "event: update",
            "data: " + result_line({"type": "start", "index": 0, "content": CONTENT, "parent_task_message": "mine"}),
            "",
            delta_line("é"),
            "data:" + result_line({"type": "done", "index": 0}).rstrip(),
            "data: [DONE]",
        ]
    )
    expected = [
        {"type": "start", "index": 0, "content": CONTENT, "parent_task_message": None},
        {"type": "delta", "index": 0, "delta": {"type": "text", "text_delta": "é"}, "parent_task_message": None},
        {"type": "done", "index": 0, "parent_task_message": None},
    ]
    assert await stream(client, agent.script(body)) == expected
    in_bytes = body.replace("$ID", "message/send-t1").encode()
    assert await stream(client, agent.script(*(bytes([byte]) for byte in in_bytes))) == expected


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "application/x-ndjson"]
)
async def test_an_answer_in_one_piece_is_a_full_for_each_message(
    client: AgentClient, agent: MisbehavingAgent, content_type: str
) -> None:
    data = {"type": "data", "author": "agent", "data": {"a": 1}}
    line = result_line([CONTENT, {"task_id": "t1", "content": data}])
    assert await stream(client, agent.script(line, content_type=content_type)) == [
        {"index": 0, "content": CONTENT},
        {"index": 1, "content": data},
    ]
    assert await stream(client, agent.script(result_line(CONTENT), content_type=content_type)) == [
        {"index": 0, "content": CONTENT}
    ]


async def test_json_with_line_breaks_and_lines_under_the_wrong_type_are_both_read(
    client: AgentClient, agent: MisbehavingAgent
) -> None:
    pretty = json.dumps(json.loads(result_line(CONTENT)), indent=2)
    assert len(await stream(client, agent.script(pretty, content_type="application/json"))) == 1
    lines = [delta_line("a"), delta_line("b")]
    assert len(await stream(client, agent.script(*lines, content_type="application/json"))) == 2


@pytest.mark.parametrize("chunks", [[], ["\n"], [result_line(None)]], ids=["nothing", "blank", "null"])
async def test_an_agent_may_have_nothing_to_say(
    client: AgentClient, agent: MisbehavingAgent, chunks: list[str]
) -> None:
    assert await stream(client, agent.script(*chunks)) == []


BAD_RESULTS = {
    "text": "hello",
    "unknown type": {"type": "secret-type", "index": 0},
    "no content": {"type": "full", "index": 0},
    "index of another kind": {"type": "done", "index": "0"},
    "index out of range": {"type": "done", "index": 2**31},
    "U+0000": {"type": "full", "index": 0, "content": CONTENT | {"content": "secret\x00"}},
    "no author": {"type": "text", "content": "secret"},
}


@pytest.mark.parametrize("result", BAD_RESULTS.values(), ids=BAD_RESULTS.keys())
async def test_a_result_that_is_no_update_is_rubbish_and_not_repeated(
    client: AgentClient, agent: MisbehavingAgent, result: object
) -> None:
    with pytest.raises(AgentRubbish) as raised:
        await stream(client, agent.script(result_line(result)))
    assert "secret" not in str(raised.value)


async def test_an_error_line_ends_a_stream_with_the_agents_error(client: AgentClient, agent: MisbehavingAgent) -> None:
    failure = json.dumps({"jsonrpc": "2.0", "id": "$ID", "result": None, "error": {"code": -32603, "message": "out"}})
    seen: list[TaskMessageUpdate] = []
    with pytest.raises(AgentFailed, match="out"):
        await stream_into(seen, client, agent.script(delta_line("a"), failure))
    assert len(seen) == 1


async def test_the_size_limit_counts_the_whole_stream(client: AgentClient, agent: MisbehavingAgent) -> None:
    lines = [delta_line("x" * 30_000), delta_line("y" * 30_000)]
    assert len(await stream(client, agent.script(*lines))) == 2
    with pytest.raises(AgentRubbish, match="larger than 65536 bytes"):
        await stream(client, agent.script(*lines, delta_line("z" * 30_000)))


async def test_a_name_that_changes_to_a_refused_address_is_not_dialled(
    client: AgentClient, agent: MisbehavingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([["169.254.169.254", "127.0.0.1"], ["169.254.169.254"], ["::ffff:169.254.169.254"]])

    def resolve(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(0, 0, 0, "", (address, 0)) for address in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = agent.address("good", host="agent.test")
    assert await call(client, url) == "good"
    for _ in range(2):
        with pytest.raises(AgentUnreachable, match="not one that the server calls") as raised:
            await call(client, url)
        assert "agent.test" not in str(raised.value)
    assert len(agent.requests) == 1


async def test_an_address_that_is_no_longer_allowed_is_not_dialled(settings: Settings, agent: MisbehavingAgent) -> None:
    async with AgentClient(settings.model_copy(update={"agent_hosts": ["agents.example.com"]})) as client:
        with pytest.raises(AgentUnreachable):
            await call(client, agent.address("good"))
    assert agent.requests == []


async def test_the_docker_host_is_dialled_where_the_override_says(settings: Settings, agent: MisbehavingAgent) -> None:
    async with AgentClient(settings.model_copy(update={"agent_host_override": "127.0.0.1"})) as client:
        assert await call(client, agent.address("good", host="host.docker.internal")) == "good"


async def test_no_credential_reaches_the_agent(client: AgentClient, agent: MisbehavingAgent) -> None:
    headers = {"authorization": "Bearer secret", "cookie": "a=secret", "x-api-key": "secret", "x-team": "blue"}
    await call(client, agent.address("good"), **headers)
    sent = agent.requests[0].headers
    assert sent["x-team"] == "blue"
    assert "secret" not in str(sent)


@pytest.mark.parametrize(
    "name", ["x-team", "X-Team", "x-author", "x-user-id", "x-tokenizer", "traceparent", "tracestate", "baggage"]
)
def test_headers_that_go_on(name: str) -> None:
    assert forward_headers({name: "v"}) == {name.lower(): "v"}


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "cookie", "proxy-authorization", "host", "content-type", "accept"),
        *("x-api-key", "X-Api-Key", "x-agent-api-key", "x-agent-identity", "x-selected-account-id", "x-request-id"),
        *("x-acting-user-cookie", "x-stainless-lang", "x-forwarded-for", "x-real-ip"),
        *("x-auth-request-access-token", "x-amzn-oidc-data", "x-goog-iap-jwt-assertion", "x-amz-security-token"),
        *("x-csrftoken", "x-session-id", "x_api_key", "x-my_api_key"),
    ],
)
def test_headers_that_stay(name: str) -> None:
    assert forward_headers({name: "v"}) == {}


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\x00", "\u20ac"])
def test_a_header_value_that_http_cannot_carry_stays(value: str) -> None:
    assert forward_headers({"x-team": value}) == {}


@pytest.mark.parametrize(
    "name", ["x-access-key", "x-functions-key", "x-bearer", "x-client-cert", "x-hub-signature-256"]
)
def test_more_names_of_credentials_stay_back(name: str) -> None:
    assert forward_headers({name: "v"}) == {}


def test_blanks_around_a_value_are_not_sent_on() -> None:
    assert forward_headers({"x-team": "blue\t "}) == {"x-team": "blue"}
