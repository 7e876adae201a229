"""Checkpoints of LangGraph programs: what a program reads back is what it wrote, and the thread is a task."""

import base64
from typing import Any

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, World
from support.server import Server, record_statements

from remit.ids import new_id


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def blob(channel: str, version: str, value: bytes | None) -> Json:
    type = "empty" if value is None else "msgpack"
    return {"channel": channel, "version": version, "type": type, "blob": None if value is None else encoded(value)}


def write(step: str, idx: int, value: bytes, channel: str = "out") -> Json:
    return {
        "task_id": step,
        "idx": idx,
        "channel": channel,
        "type": "msgpack",
        "blob": encoded(value),
        "task_path": "~",
    }


class Thread:
    """The calls of a saver for one thread."""

    def __init__(self, agent: AgentParty, task: Json, namespace: str = "") -> None:
        self.agent = agent
        self.named: Json = {"thread_id": task["id"], "checkpoint_ns": namespace}

    async def put(self, id: str, versions: Json | None = None, *, blobs: list[Json] | None = None, **more: Any) -> Json:
        body = {
            **self.named,
            "checkpoint_id": id,
            "checkpoint": {"id": id, "channel_versions": versions or {}},
            "blobs": blobs or [],
            **more,
        }
        response = await self.agent.post("/checkpoints/put", body)
        assert response.status_code == 200, response.text
        stored: Json = response.json()
        return stored

    async def get(self, id: str | None = None) -> Any:
        response = await self.agent.post("/checkpoints/get-tuple", {**self.named, "checkpoint_id": id})
        assert response.status_code == 200, response.text
        return response.json()

    async def put_writes(self, id: str, *writes: Json, upsert: bool = False) -> None:
        body = {**self.named, "checkpoint_id": id, "writes": list(writes), "upsert": upsert}
        response = await self.agent.post("/checkpoints/put-writes", body)
        assert (response.status_code, response.content) == (204, b""), response.text

    async def find(self, **params: Any) -> list[Json]:
        response = await self.agent.post("/checkpoints/list", {**self.named, **params})
        assert response.status_code == 200, response.text
        found: list[Json] = response.json()
        return found

    async def find_ids(self, **params: Any) -> list[str]:
        return [checkpoint["checkpoint_id"] for checkpoint in await self.find(**params)]


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url, "async")


@pytest.fixture
async def thread(world: World, agent: AgentParty) -> Thread:
    return Thread(agent, await world.alice.make_task(agent))


async def test_a_tuple_is_read_back_as_it_was_put(thread: Thread) -> None:
    assert await thread.get() is None
    value = bytes(range(256)) * 20  # long enough for a line break, were it encoded in lines
    stored = await thread.put(
        "1ef-a",
        {"messages": "00001.5", "empty": "00001.2", "count": 3},
        blobs=[blob("messages", "00001.5", value), blob("empty", "00001.2", None), blob("count", "3", b"\x01")],
        parent_checkpoint_id="1ee",
        metadata={"step": -1, "source": "loop"},
    )
    assert stored == {**thread.named, "checkpoint_id": "1ef-a"}
    found = await thread.get("1ef-a")
    assert found == {
        **thread.named,
        "checkpoint_id": "1ef-a",
        "parent_checkpoint_id": "1ee",
        "checkpoint": {"id": "1ef-a", "channel_versions": {"messages": "00001.5", "empty": "00001.2", "count": 3}},
        "metadata": {"step": -1, "source": "loop"},
        "blobs": [blob("count", "3", b"\x01"), blob("empty", "00001.2", None), blob("messages", "00001.5", value)],
        "pending_writes": [],
    }
    assert await thread.get("1ef") is None


async def test_without_an_id_the_greatest_one_in_the_namespace_is_read(world: World, thread: Thread) -> None:
    inner = Thread(thread.agent, {"id": thread.named["thread_id"]}, "inner:1")
    # In the order of bytes capital letters come first, unlike in most languages' own.
    for id in ("1ef-b", "1ef-B", "1ef-a"):
        await thread.put(id)
    await inner.put("9")
    assert (await thread.get())["checkpoint_id"] == "1ef-b"
    assert (await inner.get())["checkpoint_id"] == "9"
    assert await thread.find_ids() == ["1ef-b", "1ef-a", "1ef-B"]


async def test_only_the_blobs_that_a_checkpoint_names_come_with_it(thread: Thread) -> None:
    await thread.put("1", {"a": "v1"}, blobs=[blob("a", "v1", b"one"), blob("b", "v1", b"unnamed")])
    await thread.put("2", {"a": "v1", "b": "v2"}, blobs=[blob("b", "v2", b"two")])
    assert (await thread.get("1"))["blobs"] == [blob("a", "v1", b"one")]
    assert (await thread.get("2"))["blobs"] == [blob("a", "v1", b"one"), blob("b", "v2", b"two")]


async def test_the_first_blob_of_a_version_stays_and_the_last_checkpoint_does(thread: Thread) -> None:
    await thread.put("1", {"a": "v"}, blobs=[blob("a", "v", b"first"), blob("a", "v", b"again")], metadata={"n": 1})
    await thread.put("1", {"a": "v"}, blobs=[blob("a", "v", b"second")], metadata={"n": 2}, parent_checkpoint_id="0")
    found = await thread.get("1")
    assert found["blobs"] == [blob("a", "v", b"first")]
    assert (found["metadata"], found["parent_checkpoint_id"]) == ({"n": 2}, "0")
    assert len(await thread.find()) == 1


async def test_writes_come_in_order_and_duplicates_as_upsert_says(thread: Thread) -> None:
    await thread.put_writes("1", write("s2", 0, b"c"), write("s1", 1, b"b"), write("s1", -1, b"a"))
    await thread.put("1")
    await thread.put_writes("2", write("s1", 0, b"of another checkpoint"))

    async def pending() -> list[tuple[str, int, str]]:
        return [(w["task_id"], w["idx"], w["blob"]) for w in (await thread.get("1"))["pending_writes"]]

    assert await pending() == [("s1", -1, encoded(b"a")), ("s1", 1, encoded(b"b")), ("s2", 0, encoded(b"c"))]
    await thread.put_writes("1", write("s1", 1, b"ignored"), write("s3", 0, b"first"), write("s3", 0, b"ignored"))
    assert (await pending())[1:] == [("s1", 1, encoded(b"b")), ("s2", 0, encoded(b"c")), ("s3", 0, encoded(b"first"))]
    await thread.put_writes("1", write("s1", 1, b"lost"), write("s1", 1, b"new", "other"), upsert=True)
    found = (await thread.get("1"))["pending_writes"][1]
    assert found == {"task_id": "s1", "idx": 1, "channel": "other", "type": "msgpack", "blob": encoded(b"new")}
    await thread.put_writes("1")


async def test_a_list_is_newest_first_and_narrowed(thread: Thread) -> None:
    inner = Thread(thread.agent, {"id": thread.named["thread_id"]}, "inner")
    for n in range(5):
        await thread.put(f"{n}", metadata={"n": n, "tags": ["x", n], "odd": n % 2 == 1}, blobs=[blob("a", "v", b"x")])
    await inner.put("2", metadata={"odd": False})
    assert await thread.find_ids() == ["4", "3", "2", "1", "0"]
    assert await thread.find_ids(limit=2) == ["4", "3"]
    assert await thread.find_ids(limit=2, before_checkpoint_id="3") == ["2", "1"]
    assert await thread.find_ids(filter_metadata={"odd": True}) == ["3", "1"]
    assert await thread.find_ids(filter_metadata={"tags": [4]}) == ["4"]
    both = await thread.find(checkpoint_ns=None, filter_metadata={"odd": False}, before_checkpoint_id="4")
    assert [(c["checkpoint_id"], c["checkpoint_ns"]) for c in both] == [("2", ""), ("2", "inner"), ("0", "")]
    assert all("blobs" not in checkpoint for checkpoint in both)


async def test_deleting_a_thread_leaves_nothing_of_it_and_all_of_others(world: World, thread: Thread) -> None:
    other = Thread(thread.agent, await world.alice.make_task(thread.agent))
    for one in (thread, other):
        await one.put("1", {"a": "v"}, blobs=[blob("a", "v", b"x")])
        await one.put_writes("1", write("s", 0, b"y"))
    response = await world.alice.post("/checkpoints/delete-thread", {"thread_id": thread.named["thread_id"]})
    assert (response.status_code, response.content) == (204, b"")
    assert await thread.get() is None
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        rows = await world.seed.fetch(f"SELECT task_id FROM {table} WHERE tenant_id = $1", world.tenant_id)
        assert rows == [{"task_id": other.named["thread_id"]}], table
    assert len((await other.get())["pending_writes"]) == 1


async def test_statements(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url, "async")
    thread = Thread(agent, await own_world.alice.make_task(agent))
    rounds = []
    for _ in range(4):  # the driver looks types up, once per connection, and a busy pool has several
        counts = []
        for call in (
            thread.put("1", {"a": "v"}, blobs=[blob("a", "v", b"x")]),
            thread.put_writes("1", *(write("s", n, b"y") for n in range(9))),
            thread.get(),
            thread.find(),
        ):
            with record_statements(own_server) as statements:
                await call
            counts.append(len(statements))
        rounds.append(counts)
    assert [min(counts) for counts in zip(*rounds, strict=True)] == [2, 2, 2, 2], "the task, and what was asked for"


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("put", {"thread_id": "no-uuid"}),
        ("put", {"checkpoint_id": None}),
        ("put", {"checkpoint_id": "x" * 257}),
        ("put", {"checkpoint_ns": "x" * 1025}),
        ("put", {"checkpoint_ns": "ü" * 513}),
        ("put", {"checkpoint": []}),
        ("put", {"checkpoint": {"a": "\x00"}}),
        ("put", {"metadata": {"\x00": 1}}),
        ("put", {"blobs": [{"channel": "a", "version": "v", "type": "t", "blob": "not base64"}]}),
        ("put", {"blobs": [{"channel": "a", "version": 1, "type": "t"}]}),
        ("put", {"blobs": [{"channel": "a\x00", "version": "1", "type": "t"}]}),
        ("put-writes", {"writes": [{"task_id": "s", "idx": 2**31, "channel": "c", "blob": ""}]}),
        ("put-writes", {"writes": [{"task_id": "s", "idx": 0, "channel": "c", "blob": None}]}),
        ("put-writes", {"writes": None}),
        ("list", {"limit": 0}),
        ("list", {"limit": 1001}),
        ("list", {"filter_metadata": []}),
        ("get-tuple", {"checkpoint_id": "\x00"}),
        ("delete-thread", {"thread_id": None}),
    ],
)
async def test_a_body_that_does_not_fit(thread: Thread, path: str, change: Json) -> None:
    body = {**thread.named, "checkpoint_id": "1", "checkpoint": {}, "writes": [], **change}
    assert (await thread.agent.post(f"/checkpoints/{path}", body)).status_code == 422


async def test_the_step_of_a_write_is_no_task(thread: Thread) -> None:
    await thread.put("1")
    await thread.put_writes("1", write(new_id(), 0, b"x"))
    assert len((await thread.get())["pending_writes"]) == 1


async def test_the_longest_keys_fit(thread: Thread) -> None:
    wide = Thread(thread.agent, {"id": thread.named["thread_id"]}, "ü" * 512)
    id, channel, version = "i" * 256, "c" * 256, "v" * 256
    await wide.put(id, {channel: version}, blobs=[blob(channel, version, b"x")])
    await wide.put_writes(id, write("s" * 256, 0, b"y"))
    found = await wide.get(id)
    assert len(found["blobs"]) == len(found["pending_writes"]) == 1
