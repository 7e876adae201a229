"""The live stream of a task, as server-sent events.

Frames hold `data:` lines only, because the published client parses every dispatched block as JSON and breaks on `id:`
lines followed by a blank one. A client that sends `Last-Event-ID` (the number of an entry, or `0`) asks for resumption:
it gets `id:` lines, and keep-alives that are no block of their own.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from enum import Enum

import orjson

from remit.db.pool import UNREACHABLE
from remit.errors import Unavailable
from remit.streams.hub import GATHER_SECONDS, Reader, StreamEntry, StreamHub
from remit.tasks.service import TERMINAL, Task
from remit.telemetry.metrics import OPEN_STREAMS

BUFFERED_OF_ENDED_TASK = 10
LATE_SECONDS = 5 * GATHER_SECONDS  # after which another process has written what it was told before
AWAY_SECONDS = 1.0  # between two tries to reach a database that is away
MOST_DIGITS = 20  # a longer number is not one of ours


class Away(Enum):
    """Nobody can say: the database is away."""

    AWAY = "away"


AWAY = Away.AWAY


async def stream_task(
    task: Task,
    *,
    hub: StreamHub,
    after: int,
    ping: float,
    still_visible: Callable[[], Awaitable[Task | None]],
    resume_from: str | None,
) -> AsyncIterator[str]:
    """The frames of a task's stream, until the task ends or its reader may not read it any more.

    Args:
        task: the task as it was when the stream was asked for.
        hub: where updates come from.
        after: number of the newest entry before the stream was asked for.
        ping: seconds without data after which a keep-alive is sent.
        still_visible: the task as the reader may see it now, None if he may not; asked before each step.
        resume_from: the `Last-Event-ID` header.
    """
    resumes = resume_from is not None
    if resume_from is not None and resume_from.isascii() and resume_from.isdigit() and len(resume_from) < MOST_DIGITS:
        after = min(int(resume_from), after)
    OPEN_STREAMS.inc()
    opened = AsyncExitStack()
    try:
        # Before anything is sent: who has seen `connected` misses nothing from then on.
        reader = await opened.enter_async_context(hub.open_reader(task.id))
        yield f'data: {{"type":"connected","taskId":"{task.id}"}}\n\n'
        if task.status in TERMINAL:
            for entry in await hub.read_kept(task.id, after if resumes else 0, BUFFERED_OF_ENDED_TASK):
                if not reader.order.is_stale(entry.data):
                    yield _frame(entry, resumes)
            return
        async with aclosing(_show_live(reader, hub, after, ping, still_visible, resumes)) as frames:
            async for frame in frames:
                yield frame
    finally:
        await opened.aclose()
        OPEN_STREAMS.dec()


async def _show_live(
    reader: Reader,
    hub: StreamHub,
    after: int,
    ping: float,
    still_visible: Callable[[], Awaitable[Task | None]],
    resumes: bool,
) -> AsyncGenerator[str, None]:
    """The frames of a task that has not ended, until it ends. The arguments are those of `stream_task`."""
    seen_ended = False
    async with aclosing(_follow(reader, hub, after, ping, still_visible)) as steps:
        async for entries, now in steps:
            if now is None:
                yield 'data: {"type":"error","message":"The database cannot be reached."}\n\n'
                continue
            for number, entry in enumerate(entries):
                if ends_stream(entry):
                    late = await _look_once_more(reader, hub, still_visible)
                    for last in (*entries[number + 1 :], *late, entry):
                        yield _frame(last, resumes)
                    return
                yield _frame(entry, resumes)
            if not entries:
                yield ":ping\n" if resumes else ":ping\n\n"
                # What was said just before the end may still be on its way: one more look.
                if now.status in TERMINAL and seen_ended:
                    return
                seen_ended = now.status in TERMINAL


async def _follow(
    reader: Reader, hub: StreamHub, after: int, ping: float, still_visible: Callable[[], Awaitable[Task | None]]
) -> AsyncGenerator[tuple[list[StreamEntry], Task | None], None]:
    """The hub's batches, each with the task as its reader sees it at that moment, until he may not.

    None instead of a task: the database is away. Nobody is shown anything then, and nothing is skipped afterwards.
    """
    while True:
        try:
            async with aclosing(hub.read(reader, after, ping)) as batches:
                async for entries in batches:
                    # Asked before anything is shown: what was said after a revocation is not for the one revoked.
                    while (now := await _ask(still_visible)) is AWAY:
                        yield [], None
                        await asyncio.sleep(AWAY_SECONDS)
                    if not isinstance(now, Task):
                        return
                    yield entries, now
        except (Unavailable, *UNREACHABLE):
            yield [], None
            await asyncio.sleep(AWAY_SECONDS)


async def _ask(still_visible: Callable[[], Awaitable[Task | None]]) -> Task | Away | None:
    try:
        return await still_visible()
    except (Unavailable, *UNREACHABLE):
        return AWAY


async def _look_once_more(
    reader: Reader, hub: StreamHub, still_visible: Callable[[], Awaitable[Task | None]]
) -> list[StreamEntry]:
    """What was said before a task's end by way of another process, which writes it a moment later."""
    await asyncio.sleep(LATE_SECONDS)
    try:
        return await hub.read_now(reader) if await still_visible() is not None else []
    except (Unavailable, *UNREACHABLE):
        return []


def ends_stream(entry: StreamEntry) -> bool:
    """Whether an entry tells that the task has ended."""
    if '"task_updated"' not in entry.data:
        return False
    event = orjson.loads(entry.data)
    return bool(event["type"] == "task_updated" and event["task"]["status"] in TERMINAL)


def _frame(entry: StreamEntry, resumes: bool) -> str:
    return f"id: {entry.seq}\ndata: {entry.data}\n\n" if resumes else f"data: {entry.data}\n\n"
