"""What is asked, what it is measured against, and what is wanted of it."""

import itertools
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import orjson

from traffic.load import Client, encode
from traffic.world import BenchWorld

BARE, FORWARD, ONE_MESSAGE = "a bare route", "a bare forward", "POST a message"
TASKS_EACH = 64
PAGE = 50
MOST_CURSORS = 20


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        name: what is asked.
        make: the request of a worker, as bytes.
        against: the row that it is compared with.
        wanted: at least so much of that row's requests a second; None where nothing is wanted.
        aim: as `wanted`, for what would be better still.
    """

    name: str
    make: Callable[[int], bytes]
    against: str = BARE
    wanted: float | None = None
    aim: float | None = None


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
            Case("task/create, sync agent", lambda _: self._create("sync"), BARE, 1 / 9, 1 / 5),
            Case("task/create, async agent", lambda _: self._create("async"), FORWARD, 1 / 2),
            Case("get a task", self.get, BARE, 1 / 5),
            Case(ONE_MESSAGE, self.post, BARE, 1 / 9),
            Case("POST a batch of 100", self._post_batch, ONE_MESSAGE, 1 / 4),
            Case("message/send, streamed", self.stream_once, BARE, 1 / 20),
        ]

    async def lists(self) -> list[Case]:
        """First pages, and pages from cursors drawn at random, of callers drawn at random who may read ever more."""
        cases = []
        for readable, keys in self._world.readers.items():
            # Where all fits on one page, a page of half as many is what has a next one.
            limit = PAGE if readable > PAGE else readable // 2
            cursors = [(key, cursor) for key in keys for cursor in await self._walk(key, limit)]
            cases += [
                Case(f"first page, may read {readable:,}", partial(self._first_page, keys), BARE, 1 / 10),
                Case(
                    f"cursor page, may read {readable:,}",
                    partial(self._next_page, cursors, limit),
                    BARE,
                    1 / 10,
                ),
            ]
        return cases

    def draw_from(self, numbers: random.Random) -> None:
        """Draw what is asked for from these from now on."""
        self._random = numbers

    def mixed(self, worker: int) -> bytes:
        """Any of what a server is asked, reads more often than writes."""
        kinds = (self.get, self.post, self.create, self.stream_once, self._any_page)
        return self._random.choices(kinds, (45, 15, 15, 10, 15))[0](worker)

    def talk(self, worker: int = 0) -> bytes:
        """A streamed message to an agent that thinks while it talks."""
        return self._send(worker, "talk")

    def stream_once(self, worker: int = 0) -> bytes:
        """One streamed message."""
        return self._send(worker, "hello")

    def create(self, _: int = 0) -> bytes:
        """One task of an agent that is not told of it."""
        return self._create("sync")

    def post(self, _: int = 0) -> bytes:
        """One message."""
        return self._ask("POST", "/messages", {"task_id": self._task(), "content": self._content()})

    def get(self, _: int = 0) -> bytes:
        """A task that there is."""
        return self._ask("GET", f"/tasks/{self._task()}")

    async def _walk(self, key: str, limit: int) -> list[str]:
        """The cursors of a caller's first pages."""
        cursors: list[str] = []
        while len(cursors) < MOST_CURSORS:
            at = f"&cursor={cursors[-1]}" if cursors else ""
            connection = await self._client.one(self._ask("GET", f"/tasks?limit={limit}{at}", key=key))
            if not (found := connection.headers.get(b"x-next-cursor")):
                break
            cursors.append(found.decode())
        return cursors

    def _first_page(self, keys: list[str], _: int = 0) -> bytes:
        return self._ask("GET", f"/tasks?limit={PAGE}", key=self._random.choice(keys))

    def _next_page(self, cursors: list[tuple[str, str]], limit: int, _: int) -> bytes:
        key, cursor = self._random.choice(cursors)
        return self._ask("GET", f"/tasks?limit={limit}&cursor={cursor}", key=key)

    def _any_page(self, _: int) -> bytes:
        return self._first_page(self._random.choice(list(self._world.readers.values())))

    def _task(self) -> str:
        return self._random.choice(self._tasks)

    def _create(self, agent: str) -> bytes:
        return self._rpc(agent, "task/create", {"params": {"a": 1}})

    def _send(self, worker: int, text: str) -> bytes:
        # Each worker talks on a task of its own: a task answers one message at a time.
        content = {"type": "text", "author": "user", "content": text}
        params = {"task_id": self._tasks[worker], "content": content, "stream": True}
        return self._rpc("sync", "message/send", params)

    def _content(self) -> dict[str, object]:
        return {"type": "text", "author": "user", "content": f"message {next(self._numbers)}"}

    def _post_batch(self, _: int) -> bytes:
        return self._ask(
            "POST", "/messages/batch", {"task_id": self._task(), "contents": [self._content() for _ in range(100)]}
        )

    def _rpc(self, agent: str, method: str, params: dict[str, object]) -> bytes:
        body = {"jsonrpc": "2.0", "id": str(uuid.uuid4()), "method": method, "params": params}
        return self._ask("POST", f"/agents/{self._world.agents[agent]}/rpc", body)

    def _ask(self, method: str, path: str, body: object = None, key: str | None = None) -> bytes:
        return encode((method, path, {"authorization": f"Bearer {key or self._world.member}"}, body))
