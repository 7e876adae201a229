"""The live stream of a task, as server-sent events.

Frames hold `data:` lines only, because the published client parses every dispatched block as JSON and breaks on `id:`
lines followed by a blank one. A client that sends `Last-Event-ID` (the number of an entry, or `0`) asks for resumption:
it gets `id:` lines, and keep-alives that are no block of their own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import orjson

from remit.streams.hub import StreamEntry, StreamHub
from remit.tasks.service import TERMINAL, Task
from remit.telemetry.metrics import OPEN_STREAMS

BUFFERED_OF_ENDED_TASK = 10


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
        ping: seconds without data after which a keep-alive is sent and `still_visible` asked.
        still_visible: the task as the reader may see it now, None if he may not.
        resume_from: the `Last-Event-ID` header.
    """
    resumes = resume_from is not None
    if resume_from is not None and resume_from.isascii() and resume_from.isdigit():
        after = min(int(resume_from), after)
    OPEN_STREAMS.inc()
    try:
        yield _frame(orjson.dumps({"type": "connected", "taskId": task.id}).decode())
        if task.status in TERMINAL:
            for entry in await hub.read_kept(task.id, after if resumes else 0, BUFFERED_OF_ENDED_TASK):
                yield _frame(entry.data, entry.seq if resumes else None)
            return
        async with aclosing(hub.read(task.id, after, ping)) as batches:
            async for entries in batches:
                for entry in entries:
                    yield _frame(entry.data, entry.seq if resumes else None)
                    if ends_stream(entry):
                        return
                if not entries:
                    yield ":ping\n" if resumes else ":ping\n\n"
                # A revoked reader must not go on reading because the task is a busy one.
                if (now := await still_visible()) is None or (not entries and now.status in TERMINAL):
                    return
    finally:
        OPEN_STREAMS.dec()


def ends_stream(entry: StreamEntry) -> bool:
    """Whether an entry tells that the task has ended."""
    if '"task_updated"' not in entry.data:
        return False
    event = orjson.loads(entry.data)
    return bool(event["type"] == "task_updated" and event["task"]["status"] in TERMINAL)


def _frame(data: str, seq: int | None = None) -> str:
    return f"data: {data}\n\n" if seq is None else f"id: {seq}\ndata: {data}\n\n"
