"""How fast work that runs beside requests goes: so many resources a second, evenly."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

DEFAULT_RATE: Final = 500
"""Resources in a second that requests beside them hardly feel."""

# Few: a batch costs as much as a hundred resources besides, so that small ones take twice the work for the same rate,
# and twice as many requests meet it. None is so large that a request which meets one waits for long.
BATCHES_A_SECOND: Final = 2
SMALLEST, LARGEST = 50, 500


class Pace:
    """Spreads batches over time.

    Time that was lost, to a busy database or a stopped process, is not made up for: that would be a burst just when
    there is the least room for it.

    Args:
        rate: most resources in a second.
        clock: seconds that never go back.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._next = clock()
        self.batch = max(SMALLEST, min(LARGEST, rate // BATCHES_A_SECOND))

    async def after(self, count: int) -> None:
        """Wait until the next batch may begin.

        Args:
            count: resources in the batch that has just ended.
        """
        now = self._clock()
        self._next = max(self._next + count / self._rate, now)
        if self._next > now:
            await self._sleep(self._next - now)
