"""The live updates of tasks, through PostgreSQL: any process may publish, any process may serve a reader.

A publisher queues entries; the process writes what has gathered every few milliseconds in one statement and then says
in one NOTIFY which tasks have news. NOTIFY carries ids only: its payload is small and it takes a lock that all
databases of the server share. Each process listens on one connection and wakes its readers, who read from the table.
A lost notification costs a reader no entry, only the time until its next keep-alive.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import orjson
import structlog
from fastapi import Request

from remit.db.pool import UNREACHABLE, Database
from remit.errors import Unavailable
from remit.streams.doubles import Doubles
from remit.streams.order import Order
from remit.streams.redis import RedisFeed

log = structlog.get_logger(__name__)

CHANNEL = "remit_stream"
GATHER_SECONDS = 0.02
MOST_WAITING = 50_000
READ_LIMIT = 500
_NOTIFY_LIMIT = 7_000  # bytes; PostgreSQL refuses 8,000
_STREAM_LOCK = 0x52454D53

# The lock makes numbers visible in the order in which they were given, across processes: a reader that goes on
# "after number 7" must not miss a 6 that commits later. The join runs it before the first row takes its number.
_APPEND = """
WITH lock AS MATERIALIZED (SELECT pg_advisory_xact_lock($3))
INSERT INTO stream_entries (task_id, data)
SELECT e.task_id, e.data FROM lock, unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS e (task_id, data, n) ORDER BY e.n
"""
_READ = "SELECT seq, data FROM stream_entries WHERE task_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
_TAIL = "SELECT coalesce(max(seq), 0) FROM stream_entries WHERE task_id = $1"


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One update: its number, and its JSON text."""

    seq: int
    data: str


@dataclass(eq=False, slots=True)
class Reader:
    """One reader of a task.

    Attributes:
        task_id: the task.
        after: number of the newest entry that was looked at, shown or not.
        news: set when there may be something to read.
        inbox: what agents published to Redis since the last look.
        doubles: what was shown, so that nothing is shown twice.
        order: how far it was shown, so that nothing goes back.
    """

    task_id: str
    after: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: list[str] = field(default_factory=list)
    doubles: Doubles = field(default_factory=Doubles)
    order: Order = field(default_factory=Order)


class StreamHub:
    """Publishes and reads the updates of tasks for one process.

    Args:
        database: where the entries are.
        dsn: for the listening connection, which is outside the pool.
        redis_url: of the Redis that agents publish to, None where there is none.
    """

    def __init__(self, database: Database, dsn: str, redis_url: str | None = None) -> None:
        self._database = database
        self._dsn = dsn
        self._waiting: list[tuple[str, str]] = []
        self._has_waiting = asyncio.Event()
        self._readers: dict[str, set[Reader]] = defaultdict(set)
        self.redis = RedisFeed(redis_url, self._on_redis) if redis_url else None

    def publish(self, task_id: str, update: object, *, told_by_agent: bool = False) -> None:
        """Queue an update, JSON but for moments in UTC; it is live data, lost if the process dies before it is written.

        Args:
            task_id: the task.
            update: the event as the wire shows it.
            told_by_agent: the agent that wrote this publishes it to Redis itself.
        """
        if len(self._waiting) >= MOST_WAITING:
            log.error("live update dropped: too many are waiting")
            return
        data = orjson.dumps(update, option=orjson.OPT_UTC_Z).decode()
        self._waiting.append((task_id, data))
        self._has_waiting.set()
        if self.redis is not None and not told_by_agent:
            self.redis.publish([(task_id, data)])

    async def flush(self) -> None:
        """Write what is queued."""
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        tasks = list(dict.fromkeys(task_id for task_id, _ in batch))
        async with self._database.connection() as connection:
            await connection.execute(_APPEND, [t for t, _ in batch], [d for _, d in batch], _STREAM_LOCK)
            for payload in _payloads(tasks):
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)

    async def run_publisher(self) -> None:
        """Write queued updates until cancelled; what is left then is written first."""
        try:
            while True:
                await self._has_waiting.wait()
                await asyncio.sleep(GATHER_SECONDS)
                self._has_waiting.clear()
                try:
                    await self.flush()
                except (Unavailable, asyncpg.PostgresError, *UNREACHABLE) as error:
                    log.warning("live updates lost: the database did not take them", cause=repr(error))
        finally:
            with contextlib.suppress(Unavailable, *UNREACHABLE):
                await asyncio.shield(self.flush())

    async def run_listener(self) -> None:
        """Wake readers on notifications until cancelled; the connection is made anew when it is lost."""
        while True:
            try:
                connection = await asyncpg.connect(self._dsn, timeout=5)
            except (TimeoutError, asyncpg.PostgresError, *UNREACHABLE):
                await asyncio.sleep(0.5)
                continue
            lost = asyncio.Event()
            try:
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await connection.add_listener(CHANNEL, self._on_notification)
                self._wake(list(self._readers))
                await lost.wait()
            except (asyncpg.PostgresError, *UNREACHABLE):
                await asyncio.sleep(0.5)
            finally:
                connection.terminate()

    def _on_notification(self, _: object, __: int, ___: str, payload: object) -> None:
        self._wake(str(payload).split(","))

    def _wake(self, task_ids: list[str]) -> None:
        for task_id in task_ids:
            for reader in self._readers.get(task_id, ()):
                reader.news.set()

    def _on_redis(self, task_id: str, data: str) -> None:
        for reader in self._readers.get(task_id, ()):
            if len(reader.inbox) < MOST_WAITING:
                reader.inbox.append(data)
            reader.news.set()

    async def tail(self, task_id: str) -> int:
        """The number of the newest entry of a task, 0 when there is none."""
        async with self._database.connection() as connection:
            seq: int = await connection.fetchval(_TAIL, task_id)
        return seq

    async def read_kept(self, task_id: str, after: int, limit: int) -> list[StreamEntry]:
        """The entries after a number that are there now, at most `limit`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_READ, task_id, after, limit)
        return [StreamEntry(row["seq"], row["data"]) for row in rows]

    @asynccontextmanager
    async def open_reader(self, task_id: str) -> AsyncIterator[Reader]:
        """A reader of a task's updates from now on, while the block lasts."""
        reader = Reader(task_id)
        self._readers[task_id].add(reader)
        try:
            if self.redis is not None:
                await self.redis.watch(task_id)
            yield reader
        finally:
            self._readers[task_id].discard(reader)
            if not self._readers[task_id]:
                del self._readers[task_id]
                if self.redis is not None:
                    self.redis.unwatch(task_id)

    async def read(self, reader: Reader, after: int, idle: float) -> AsyncGenerator[list[StreamEntry], None]:
        """Entries after a number, in order, for ever; an empty list whenever none came for `idle` seconds.

        No database connection is held between two looks. What agents published to Redis has the number of the entry
        before it.

        Args:
            reader: of `open_reader`.
            after: the number to start after.
            idle: seconds.
        """
        reader.after = max(reader.after, after)
        while True:
            before = reader.after
            entries = await self.read_now(reader)
            if entries:
                yield entries
            if reader.after > before or entries:
                continue
            try:
                await asyncio.wait_for(reader.news.wait(), idle)
            except TimeoutError:
                yield []
            reader.news.clear()

    async def read_now(self, reader: Reader) -> list[StreamEntry]:
        """What there is for a reader at this moment, after what it has looked at."""
        # Before the table is read: what an agent published before it ended its task is shown before that end.
        taken, reader.inbox = reader.inbox, []
        try:
            kept = await self.read_kept(reader.task_id, reader.after, READ_LIMIT)
        except BaseException:
            reader.inbox[:0] = taken
            raise
        taken, reader.inbox = [*taken, *reader.inbox], []
        early = [StreamEntry(reader.after, data) for data in taken if not reader.doubles.is_double(data, "redis")]
        if kept:
            reader.after = kept[-1].seq
        return early + [entry for entry in kept if self._is_news(reader, entry)]

    def _is_news(self, reader: Reader, entry: StreamEntry) -> bool:
        double = self.redis is not None and reader.doubles.is_double(entry.data, "server")
        return not double and not reader.order.is_stale(entry.data)


def _payloads(task_ids: list[str]) -> list[str]:
    per_payload = _NOTIFY_LIMIT // 37
    return [",".join(task_ids[n : n + per_payload]) for n in range(0, len(task_ids), per_payload)]


async def get_hub(request: Request) -> StreamHub:
    """The hub of the application that the request came to."""
    hub: StreamHub = request.app.state.hub
    return hub
