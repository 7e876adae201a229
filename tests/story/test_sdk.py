"""Agents written with the published SDK, unmodified and in an environment of their own, serve published clients."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import agentex
import pytest
from agentex import Agentex, AsyncAgentex
from support.databases import make_data_dir
from support.processes import clean_environment, free_port, run_remit, wait_until_answering
from support.redis_server import run_redis
from support.world import World, make_world_blocking

from remit.db.embedded import EmbeddedPostgres

AGENTS = Path(__file__).parent / "agents"
SDK_START_SECONDS = 180


@dataclass(frozen=True)
class Installation:
    url: str
    world: World

    clients: ExitStack

    def client(self, key: str) -> Any:  # what is tested is the wire, not how the client types its unions
        return self.clients.enter_context(Agentex(base_url=self.url, api_key=key))


@contextmanager
def run_agent(url: str, kind: str, name: str, key: str, redis_url: str) -> Iterator[None]:
    port = free_port()
    environment = clean_environment(
        AGENTEX_BASE_URL=url,
        ACP_URL="http://127.0.0.1",
        ACP_PORT=str(port),
        ACP_TYPE=kind,
        AGENT_NAME=name,
        AGENT_API_KEY=key,
        REDIS_URL=redis_url,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )
    environment.pop("PYTHONPATH", None)
    python = os.environ["REMIT_SDK_PYTHON"]
    command = [python, "-m", "uvicorn", f"{kind}_agent:acp", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=AGENTS, stdout=subprocess.DEVNULL)
    try:
        wait_until_answering(f"http://127.0.0.1:{port}/healthz", process, SDK_START_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with ExitStack() as stack:
        data_dir = stack.enter_context(make_data_dir())
        postgres = EmbeddedPostgres.start_blocking(data_dir)
        stack.callback(postgres.stop_blocking)
        redis = stack.enter_context(run_redis())
        server = stack.enter_context(run_remit(data_dir, REMIT_REDIS_URL=redis.url))
        world = make_world_blocking(postgres.dsn, agents=("sync-one", "async-one"))
        # Both at once: importing the SDK takes long.
        starts = [
            stack.enter_context(_starting(server.url, kind, f"{kind}-one", world.agent_keys[f"{kind}-one"], redis.url))
            for kind in ("sync", "async")
        ]
        for ready in starts:
            ready()
        yield Installation(server.url, world, stack.enter_context(ExitStack()))


@contextmanager
def _starting(url: str, kind: str, name: str, key: str, redis_url: str) -> Iterator[Callable[[], None]]:
    """Start an agent in the background; the function waits until it serves."""
    started, ending = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def keep() -> None:
        try:
            with run_agent(url, kind, name, key, redis_url):
                started.set()
                ending.wait()
        except BaseException as error:  # noqa: BLE001 - handed to the test, which raises it
            failed.append(error)
            started.set()

    def ready() -> None:
        assert started.wait(SDK_START_SECONDS + 10)
        if failed:
            raise failed[0]

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield ready
    finally:
        ending.set()
        thread.join()


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "author": "user", "content": content}


def has_messages(client: Any, task_id: str, count: int) -> bool:
    return len(client.messages.list(task_id=task_id)) == count


def wait_for(what: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)
    return found


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
    opened: Any = AsyncAgentex(base_url=installation.url, api_key=installation.world.alice_key)
    async with opened as client:
        answer = await client.agents.send_message(agent_name="sync-one", params={"content": text("hello")})
        assert [message.content.content for message in answer.result] == ["echo: hello"]
        agents = await client.agents.list()
        assert {agent.name for agent in agents} >= {"sync-one", "async-one"}


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
