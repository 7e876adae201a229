"""What is asked, what it is measured against, and what is wanted of it."""

import itertools
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from traffic.load import Client, encode
from traffic.world import READABLE, BenchWorld

BARE, FORWARD, ONE_MESSAGE = "a bare route", "a bare forward", "POST a message"
TASKS_EACH = 64


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        name: what is asked.
        make: the request of a worker, as bytes.
        against: the row that it is compared with.
        wanted: at least so much of that row's requests a second; None where nothing is wanted.
    """

    name: str
    make: Callable[[int], bytes]
    against: str = BARE
    wanted: float | None = None


class Cases:
    """Makes the cases of one world.

    Args:
        world: what there is.
        client: asks for what the cases need.
    """

    def __init__(self, world: BenchWorld, client: Client) -> None:
        self._world, self._client = world, client
        self._random = random.Random(7)
        self._tasks: list[str] = []
        self._numbers = itertools.count()

    async def prepare(self) -> None:
        """Make the tasks that single rows ask about: each worker draws its own."""
        for _ in range(TASKS_EACH):
            connection = await self._client.one(self._rpc("sync", "task/create", {}))
            self._tasks.append(orjson.loads(connection.body)["result"]["id"])

    def references(self) -> list[Case]:
        """What the others are compared with."""
        forward = encode(("POST", "/bare/forward", {}, {"method": "task/create", "params": {"params": {"a": 1}}}))
        bare = encode(("GET", "/bare", {}, None))
        return [Case(BARE, lambda _: bare), Case(FORWARD, lambda _: forward)]

    def rows(self) -> list[Case]:
        """Requests about single tasks."""
        return [
            Case(
                "task/create, sync agent", lambda _: self._rpc("sync", "task/create", {"params": {"a": 1}}), BARE, 1 / 9
            ),
            Case(
                "task/create, async agent",
                lambda _: self._rpc("async", "task/create", {"params": {"a": 1}}),
                FORWARD,
                1 / 2,
            ),
            Case("get a task", lambda _: self._ask("GET", f"/tasks/{self._task()}"), BARE, 1 / 5),
            Case(ONE_MESSAGE, lambda _: self._ask("POST", "/messages", self._message()), BARE, 1 / 9),
            Case(
                "POST a batch of 100", lambda _: self._ask("POST", "/messages/batch", self._batch()), ONE_MESSAGE, 1 / 4
            ),
            Case("message/send, streamed", self._send, BARE, 1 / 20),
        ]

    async def lists(self) -> list[Case]:
        """Pages of 50 of callers who may read ever more."""
        cases = []
        for readable in READABLE:
            keys = self._world.readers[readable]
            if not keys:
                continue
            cursors = [await self._cursor(key) for key in keys]
            cases.append(
                Case(f"first page, may read {readable:,}", lambda _, keys=keys: self._list(keys), BARE, 1 / 10)
            )
            if all(cursors):
                pairs = list(zip(keys, cursors, strict=True))
                cases.append(
                    Case(f"second page, may read {readable:,}", lambda _, pairs=pairs: self._page(pairs), BARE, 1 / 10)
                )
        return cases

    def stream_once(self, worker: int = 0) -> bytes:
        """One streamed message."""
        return self._send(worker)

    def create(self, _: int = 0) -> bytes:
        """One task."""
        return self._rpc("sync", "task/create", {})

    def get(self, _: int = 0) -> bytes:
        """A task that there is."""
        return self._ask("GET", f"/tasks/{self._task()}")

    async def _cursor(self, key: str) -> str | None:
        connection = await self._client.one(self._ask("GET", "/tasks?limit=50", key=key))
        found = connection.headers.get(b"x-next-cursor")
        return found.decode() if found else None

    def _list(self, keys: list[str]) -> bytes:
        return self._ask("GET", "/tasks?limit=50", key=self._random.choice(keys))

    def _page(self, pairs: list[tuple[str, str | None]]) -> bytes:
        key, cursor = self._random.choice(pairs)
        return self._ask("GET", f"/tasks?limit=50&cursor={cursor}", key=key)

    def _task(self) -> str:
        return self._random.choice(self._tasks)

    def _send(self, worker: int) -> bytes:
        # Each worker talks on a task of its own: a task answers one message at a time.
        content = {"type": "text", "author": "user", "content": "hello"}
        params = {"task_id": self._tasks[worker], "content": content, "stream": True}
        return self._rpc("sync", "message/send", params)

    def _message(self) -> dict[str, object]:
        content = {"type": "text", "author": "user", "content": f"message {next(self._numbers)}"}
        return {"task_id": self._task(), "content": content}

    def _batch(self) -> dict[str, object]:
        content = {"type": "text", "author": "user", "content": f"message {next(self._numbers)}"}
        return {"task_id": self._task(), "contents": [content] * 100}

    def _rpc(self, agent: str, method: str, params: dict[str, object]) -> bytes:
        body = {"jsonrpc": "2.0", "id": str(uuid.uuid4()), "method": method, "params": params}
        return self._ask("POST", f"/agents/{self._world.agents[agent]}/rpc", body)

    def _ask(self, method: str, path: str, body: object = None, key: str | None = None) -> bytes:
        return encode((method, path, {"authorization": f"Bearer {key or self._world.member}"}, body))
