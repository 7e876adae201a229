"""Work that outlives the request that began it: what a cancelled call leaves to be stored."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 1.0


async def keep_running(name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run work that should never end until cancelled; when it ends all the same, log that and begin it again.

    Args:
        name: what the log calls it.
        work: makes the coroutine to run.
    """
    while True:
        try:
            await work()
            log.warning("it ended and is begun again", work=name)
        except Exception:
            log.exception("it failed and is begun again", work=name)
        await asyncio.sleep(PAUSE_SECONDS)


class Background:
    """The loose tasks of one process; none is forgotten, each failure is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start work that nobody waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)

    async def drain(self, seconds: float) -> None:
        """Wait for what is running, at most so long, then cancel it."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
