"""Agents written with the published SDK, unmodified and in an environment of their own, serve published clients.

Two server processes are behind the clients: consecutive requests of one go to one and the other. The agents are of the
kinds of the SDK's offline tutorials: a sync one, an async one, and an async one that works on events in batches.
"""

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import agentex
import pytest
from support.sdk import Installation, install, text, wait_for

AGENTS = {"sync-one": "sync:sync_agent", "async-one": "async:async_agent", "batch-one": "async:batch_agent"}


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with install(AGENTS) as installed:
        yield installed


def has_messages(client: Any, task_id: str, count: int) -> bool:
    return len(client.messages.list(task_id=task_id)) == count


def test_sync_agent_answers_and_streams(installation: Installation) -> None:
    client = installation.client(installation.world.alice_key)
    task = client.agents.create_task(agent_name="sync-one", params={"name": "sync-story"}).result
    assert task.creator_user_id == "alice"
    answer = client.agents.send_message(agent_name="sync-one", params={"task_id": task.id, "content": text("hi")})
    assert [message.content.content for message in answer.result] == ["echo: hi"]
    chunks = list(
        client.agents.send_message_stream(agent_name="sync-one", params={"task_id": task.id, "content": text("stream")})
    )
    assert [chunk.result.type for chunk in chunks] == ["start", "delta", "delta", "delta", "done"]
    assert all(chunk.result.parent_task_message.task_id == task.id for chunk in chunks)
    messages = client.messages.list(task_id=task.id)
    assert [message.content.content for message in messages] == ["one two three", "stream", "echo: hi", "hi"]
    assert {message.streaming_status for message in messages} == {"DONE"}


def test_async_agent_keeps_state_and_writes_messages(installation: Installation) -> None:
    client = installation.client(installation.world.alice_key)
    task = client.agents.create_task(agent_name="async-one", params={"params": {"a": 1}}).result
    assert [m.content.content for m in client.messages.list(task_id=task.id)] == ["ready"], "written before the answer"
    for number, said in enumerate(("first", "second"), 1):
        event = client.agents.send_event(agent_name="async-one", params={"task_id": task.id, "content": text(said)})
        assert event.result.content.content == said
        wait_for(partial(has_messages, client, task.id, number + 1))
    newest = client.messages.list(task_id=task.id)[0]
    assert newest.content.content == "turn 2: second"
    cancelled = client.agents.cancel_task(agent_name="async-one", params={"task_id": task.id}).result
    assert cancelled.status == "CANCELED"


def test_live_stream_reaches_the_published_client(installation: Installation) -> None:
    """Deltas come through Redis only; what the agent tells there and over REST is seen once."""
    client = installation.client(installation.world.alice_key)
    task = client.agents.create_task(agent_name="async-one", params={}).result
    seen: list[Any] = []
    connected = threading.Event()

    def read() -> None:
        for event in client.tasks.stream_events(task.id):
            seen.append(event)
            connected.set()

    def kinds() -> list[str]:
        # What was written just before the stream was opened may be told just after.
        return [_type(event) for event in seen if "ready" not in str(event)]

    reader = threading.Thread(target=read)
    reader.start()
    assert connected.wait(20)
    client.agents.send_event(agent_name="async-one", params={"task_id": task.id, "content": text("live")})
    wait_for(lambda: "full" in kinds())
    client.agents.send_event(agent_name="async-one", params={"task_id": task.id, "content": text("stream")})
    wait_for(lambda: "done" in kinds())
    wait_for(lambda: client.messages.list(task_id=task.id)[0].streaming_status == "DONE")
    client.agents.cancel_task(agent_name="async-one", params={"task_id": task.id})
    reader.join(20)
    assert not reader.is_alive(), "the stream ends with the task"
    deltas = kinds().count("delta")
    assert deltas >= 2
    streamed = kinds()[kinds().index("start") :]
    assert kinds()[: kinds().index("start")] == ["connected", "full"]
    assert streamed[: deltas + 2] == ["start", *["delta"] * deltas, "done"]
    assert streamed[deltas + 2 :] == ["full", "task_updated"], "what the agent says when it is cancelled, and the end"


def _type(event: Any) -> str:
    return str(event["type"] if isinstance(event, dict) else event.type)


async def test_async_client(installation: Installation) -> None:
    async with installation.async_client(installation.world.alice_key) as client:
        answer = await client.agents.send_message(agent_name="sync-one", params={"content": text("hello")})
        assert [message.content.content for message in answer.result] == ["echo: hello"]
        agents = await client.agents.list()
        assert {agent.name for agent in agents} >= set(AGENTS)


def test_strangers_see_nothing_through_the_client(installation: Installation) -> None:
    client = installation.client(installation.world.alice_key)
    task = client.agents.create_task(agent_name="sync-one", params={}).result
    for key in (installation.world.bob_key, installation.world.mallory_key):
        with pytest.raises(agentex.NotFoundError):
            installation.client(key).tasks.retrieve(task.id)
    assert task.id not in {listed.id for listed in installation.client(installation.world.bob_key).tasks.list()}


def test_agent_key_of_another_agent_reaches_nothing(installation: Installation) -> None:
    task = installation.client(installation.world.alice_key).agents.create_task(agent_name="sync-one", params={}).result
    own = installation.client(installation.world.agent_keys["sync-one"])
    assert own.tasks.retrieve(task.id).id == task.id
    with pytest.raises(agentex.NotFoundError):
        installation.client(installation.world.agent_keys["async-one"]).tasks.retrieve(task.id)


def said(client: Any, task_id: str) -> list[list[str]]:
    """What the batches were, oldest first, as the agent has written each down."""
    messages = client.messages.list(task_id=task_id)
    return [message.content.content.split(", ") for message in reversed(messages)]


def read_tracker(client: Any, task_id: str) -> Any:
    (tracker,) = client.tracker.list(task_id=task_id)
    return client.tracker.retrieve(tracker.id)


def send(client: Any, task_id: str, content: str) -> Any:
    return client.agents.send_event(
        agent_name="batch-one", params={"task_id": task_id, "content": text(content)}
    ).result


def test_one_event_moves_the_tracker(installation: Installation) -> None:
    client = installation.client(installation.world.alice_key)
    task = client.agents.create_task(agent_name="batch-one", params={}).result
    assert (read_tracker(client, task.id).status, read_tracker(client, task.id).last_processed_event_id) == (
        "READY",
        None,
    )
    event = send(client, task.id, "only")
    wait_for(lambda: read_tracker(client, task.id).last_processed_event_id == event.id)
    assert said(client, task.id) == [["only"]]
    assert read_tracker(client, task.id).status == "READY"


def test_events_that_come_together_are_worked_on_in_batches_each_once(installation: Installation) -> None:
    client = installation.client(installation.world.alice_key)
    task = client.agents.create_task(agent_name="batch-one", params={}).result
    names = [f"event-{number}" for number in range(10)]
    events = [send(client, task.id, name) for name in names]
    wait_for(lambda: read_tracker(client, task.id).last_processed_event_id == events[-1].id)
    batches = said(client, task.id)
    assert [name for batch in batches for name in batch] == names, "each once, in the order in which they were sent"
    assert len(batches) < len(names), "some were worked on together"
    tracker = read_tracker(client, task.id)
    left = client.events.list(task_id=task.id, agent_id=tracker.agent_id, last_processed_event_id=events[-1].id)
    assert left == []
    after_first = client.events.list(task_id=task.id, agent_id=tracker.agent_id, last_processed_event_id=events[0].id)
    assert [event.id for event in after_first] == [event.id for event in events[1:]]
    agent = installation.client(installation.world.agent_keys["batch-one"])
    with pytest.raises(agentex.BadRequestError):
        agent.tracker.update(tracker.id, last_processed_event_id=events[0].id)
    assert read_tracker(client, task.id).last_processed_event_id == events[-1].id, "a cursor goes forward only"


def test_a_batch_reaches_the_stream(installation: Installation) -> None:
    client = installation.client(installation.world.alice_key)
    task = client.agents.create_task(agent_name="batch-one", params={}).result
    seen: list[str] = []
    connected = threading.Event()

    def read() -> None:
        for event in client.tasks.stream_events(task.id):
            seen.append(str(event))
            connected.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert connected.wait(20)
    send(client, task.id, "streamed")
    wait_for(lambda: any("streamed" in event for event in seen))
    client.agents.cancel_task(agent_name="batch-one", params={"task_id": task.id})
    reader.join(20)
    assert not reader.is_alive()
    assert sum("streamed" in event for event in seen) == 1
