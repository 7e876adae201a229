"""How long a request may wait for services elsewhere, all its calls together.

Ten calls of a second each are as bad as one of ten seconds. The time that calls take is taken from the request's
budget; what the request does in between, such as waiting for an agent, is not.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Budget:
    """Seconds that are left."""

    left: float


_of_request: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def request_budget(seconds: float) -> Iterator[Budget]:
    """Give everything that the block does, and the tasks it starts, one budget."""
    budget = Budget(seconds)
    token = _of_request.set(budget)
    try:
        yield budget
    finally:
        _of_request.reset(token)


@asynccontextmanager
async def spend(most: float) -> AsyncIterator[None]:
    """Do a call, or several at once, within what is left of the request's budget.

    Args:
        most: seconds for this call, and the whole budget outside of a request.

    Raises:
        TimeoutError: the time is over, or nothing was left at the start.
    """
    budget = _of_request.get() or Budget(most)
    if budget.left <= 0:
        raise TimeoutError
    started = time.monotonic()
    try:
        async with asyncio.timeout(min(budget.left, most)):
            yield
    finally:
        budget.left -= time.monotonic() - started
