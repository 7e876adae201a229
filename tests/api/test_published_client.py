"""The published client's own methods and types, on the children of a task."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast

import httpx
import pytest
from agentex import APIStatusError, AsyncAgentex, NotFoundError
from agentex.types import Span, TaskMessage, TextContentParam
from support.agent import FakeAgent
from support.alternate import AsyncAlternating
from support.graph import AgentParty, Json, World
from support.processes import ServerProcess
from support.server import Server

from remit.ids import new_id

TEXT: TextContentParam = {"type": "text", "author": "agent", "content": "hi"}
INPUT: dict[str, object] = {"a": 1}


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url, "async")


@pytest.fixture
async def task(world: World, agent: AgentParty) -> Json:
    return await world.alice.make_task(agent)


@pytest.fixture
async def client(server: Server, second_server: ServerProcess, agent: AgentParty) -> AsyncIterator[AsyncAgentex]:
    """As the SDK makes it in the process of an agent; answers that do not fit its types are errors."""
    async with AsyncAgentex(
        base_url=server.url,
        default_headers={"x-agent-api-key": agent.secret},
        max_retries=0,
        http_client=httpx.AsyncClient(transport=AsyncAlternating([server.url, second_server.url])),
        _strict_response_validation=True,
    ) as made:
        yield made


async def test_messages(client: AsyncAgentex, task: Json) -> None:
    made = await client.messages.batch.create(task_id=task["id"], contents=[TEXT] * 5, created_at=datetime.now(UTC))
    assert all(isinstance(message, TaskMessage) for message in made)
    changed = await client.messages.batch.update(
        task_id=task["id"], updates={str(made[0].id): cast("TextContentParam", {**TEXT, "content": "changed"})}
    )
    assert [message.id for message in changed] == [made[0].id]
    page = await client.messages.list_paginated(task_id=task["id"], limit=2, filters='{"content": {"content": "hi"}}')
    assert ([message.id for message in page.data], page.has_more) == ([made[4].id, made[3].id], True)
    page = await client.messages.list_paginated(task_id=task["id"], cursor=page.next_cursor, direction="newer")
    assert [message.id for message in page.data] == [made[4].id]
    listed = await client.messages.list(task_id=task["id"], filters='{"content": {"content": "changed"}}')
    assert [message.id for message in listed] == [made[0].id]


async def test_trackers_and_events(client: AsyncAgentex, world: World, agent: AgentParty, task: Json) -> None:
    event = (await world.alice.rpc(agent, "event/send", {"task_id": task["id"]})).json()["result"]["id"]
    (tracker,) = await client.tracker.list(task_id=task["id"], agent_id=agent.id)
    changed = await client.tracker.update(tracker.id, last_processed_event_id=event, status="DONE")
    assert (await client.tracker.retrieve(tracker.id)) == changed
    assert (changed.last_processed_event_id, changed.status) == (event, "DONE")
    left = await client.events.list(task_id=task["id"], agent_id=agent.id, last_processed_event_id=event)
    assert left == []
    with pytest.raises(APIStatusError) as refused:
        await client.tracker.update(tracker.id, last_processed_event_id=new_id())
    assert refused.value.status_code == 400


async def test_spans(client: AsyncAgentex, task: Json) -> None:
    span = await client.spans.create(
        trace_id="trace",
        name="step",
        start_time=datetime.now(UTC),
        id=new_id(),
        task_id=task["id"],
        input=INPUT,
        data=[{"b": 2}],
    )
    assert isinstance(span, Span)
    changed = await client.spans.update(span.id, end_time=datetime.now(UTC), output=INPUT)
    assert (await client.spans.retrieve(span.id)) == changed
    assert await client.spans.list(trace_id="trace") == await client.spans.list(task_id=task["id"]) == [changed]
    with pytest.raises(NotFoundError):
        await client.spans.create(trace_id="t", name="x", start_time=datetime.now(UTC), task_id=new_id())


async def test_states(client: AsyncAgentex, agent: AgentParty, task: Json) -> None:
    state = await client.states.create(task_id=task["id"], agent_id=agent.id, state={"a": 1})
    assert [one.id for one in await client.states.list(agent_id=agent.id)] == [state.id]
    assert (await client.states.update(state.id, state={"b": 2})).state == {"b": 2}
    assert (await client.states.delete(state.id)).id == state.id


async def test_checkpoints(client: AsyncAgentex, world: World, task: Json) -> None:
    thread = task["id"]
    value = base64.b64encode(b"value").decode()
    await client.checkpoints.put(
        thread_id=thread,
        checkpoint_id="1",
        checkpoint={"channel_versions": {"a": "v"}},
        metadata={"step": 0},
        blobs=[{"channel": "a", "version": "v", "type": "msgpack", "blob": value}],
    )
    await client.checkpoints.put_writes(
        thread_id=thread, checkpoint_id="1", writes=[{"task_id": "s", "idx": 0, "channel": "a", "blob": value}]
    )
    found = await client.checkpoints.get_tuple(thread_id=thread)
    assert found is not None
    assert found.blobs is not None
    assert found.pending_writes is not None
    assert (found.blobs[0].blob, found.pending_writes[0].blob) == (value, value)
    assert [one.checkpoint_id for one in await client.checkpoints.list(thread_id=thread)] == ["1"]
    await client.checkpoints.delete_thread(thread_id=thread)
    assert await client.checkpoints.get_tuple(thread_id=thread) is None


async def test_operations_that_are_not_built(client: AsyncAgentex, task: Json) -> None:
    with pytest.raises(NotFoundError) as refused:
        await client.tasks.query_workflow("state", task_id=task["id"])
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["type"].endswith(":not-implemented")
