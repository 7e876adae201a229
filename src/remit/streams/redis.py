"""Live updates through Redis, where agents publish theirs directly: the SDK's deltas exist nowhere else.

An agent's process appends to the Redis stream `task:<id>`, one field `data` with an event as JSON. This feed reads
those of the tasks that have readers in this process, and appends what the server itself says, marked by a second field
so that no server reads it back. Redis is an addition, never a condition: updates wait in a bounded queue, a stream that
is opened waits for it a moment at most, and what it loses are live updates of agents.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from remit.telemetry.metrics import REDIS_LOST

log = structlog.get_logger(__name__)

MOST_WAITING = 10_000
MOST_KEPT = 10_000  # entries of a task, as the SDK keeps them
KEPT_SECONDS = 3600
BATCH = 200
BLOCK_MILLISECONDS = 100
TIMEOUT_SECONDS = 1.0
AWAY_SECONDS = 1.0
OPENING_SECONDS = 0.3  # a new stream waits no longer for Redis than this
_FROM_SERVER = b"remit"
_TROUBLE = (RedisError, OSError, TimeoutError)


class RedisFeed:
    """Reads and writes the streams of tasks in Redis for one process.

    Args:
        url: of the server, `redis://…`, `rediss://…` or `unix://…`.
        deliver: called with a task's id and an event's JSON text for each that an agent published.
    """

    def __init__(self, url: str, deliver: Callable[[str, str], None]) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, protocol=2
        )
        self._deliver = deliver
        self._positions: dict[str, bytes | None] = {}
        self._has_watched = asyncio.Event()
        self._is_away = False
        self._waiting: deque[tuple[str, str]] = deque()
        self._has_waiting = asyncio.Event()

    async def watch(self, task_id: str) -> None:
        """Read a task's stream from its end on. Where Redis does not answer, from the moment at which it does."""
        if task_id in self._positions:
            return
        self._positions[task_id] = None
        self._has_watched.set()
        if self._is_away:
            return
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                await self._find_end(task_id)
        except _TROUBLE as error:
            log.warning("redis does not answer; live updates of agents may be missing", cause=repr(error))

    async def _find_end(self, task_id: str) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            newest: Any = await self._redis.xrevrange(f"task:{task_id}", count=1)
        # Nobody may be left who watches.
        if task_id in self._positions and self._positions[task_id] is None:
            self._positions[task_id] = newest[0][0] if newest else b"0"

    def unwatch(self, task_id: str) -> None:
        """Stop reading a task's stream."""
        self._positions.pop(task_id, None)

    def publish(self, entries: Iterable[tuple[str, str]]) -> None:
        """Queue updates of the server, as task id and JSON text; the oldest are dropped when too many wait."""
        for entry in entries:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                REDIS_LOST.inc()
            self._waiting.append(entry)
        self._has_waiting.set()

    async def run_reader(self) -> None:
        """Deliver what agents publish, until cancelled."""
        while True:
            if not self._positions:
                self._has_watched.clear()
                await self._has_watched.wait()
            try:
                await self._read_once()
                self._is_away = False
            except _TROUBLE as error:
                self._is_away = True
                log.warning("redis cannot be read", cause=repr(error))
                await asyncio.sleep(AWAY_SECONDS)

    async def _read_once(self) -> None:
        for task_id in [task_id for task_id, position in self._positions.items() if position is None]:
            await self._find_end(task_id)
        streams: Any = {f"task:{id}": position for id, position in self._positions.items() if position}
        if not streams:
            return
        async with asyncio.timeout(TIMEOUT_SECONDS + BLOCK_MILLISECONDS / 1000):
            found: Any = await self._redis.xread(streams, count=BATCH, block=BLOCK_MILLISECONDS)
        for name, entries in found or ():
            task_id = name.decode()[len("task:") :]
            if task_id not in self._positions:
                continue
            self._positions[task_id] = entries[-1][0]
            for _, fields in entries:
                if _FROM_SERVER not in fields and b"data" in fields:
                    self._deliver(task_id, fields[b"data"].decode(errors="replace"))

    async def run_writer(self) -> None:
        """Write what is queued, until cancelled."""
        while True:
            await self._has_waiting.wait()
            self._has_waiting.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                try:
                    await self._write(batch)
                except _TROUBLE as error:
                    REDIS_LOST.inc(len(batch))
                    log.warning("redis did not take updates", count=len(batch), cause=repr(error))
                    await asyncio.sleep(AWAY_SECONDS)

    async def _write(self, batch: list[tuple[str, str]]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            pipeline = self._redis.pipeline(transaction=False)
            for task_id, data in batch:
                pipeline.xadd(
                    f"task:{task_id}",
                    {"data": data, _FROM_SERVER.decode(): "1"},
                    maxlen=MOST_KEPT,
                    approximate=True,
                )
            for task_id in {task_id for task_id, _ in batch}:
                pipeline.expire(f"task:{task_id}", KEPT_SECONDS)
            await pipeline.execute()

    async def aclose(self) -> None:
        """Close the connections."""
        with contextlib.suppress(*_TROUBLE):
            await self._redis.aclose()
