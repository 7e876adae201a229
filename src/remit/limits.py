"""How much one principal may ask: requests in a time, and streams at once. Off unless the settings say otherwise.

The counts are those of one server process; with several behind one address, each allows as much.
"""

import math
import time
from collections import Counter
from collections.abc import AsyncIterator

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from remit.errors import RemitError
from remit.telemetry.metrics import LIMITED


class TooManyRequests(RemitError):
    """The principal has asked more than it may for now."""

    status, rpc_code, problem, title = 429, -32029, "too-many-requests", "More was asked than is allowed for now"
    retry = True

    def __init__(self, message: str, wait_seconds: int) -> None:
        super().__init__(message, headers={"retry-after": str(wait_seconds)})


class Limits:
    """Counts what principals ask in this process.

    Args:
        rate: such as `600/minute` or `20/second;5000/hour`; None for no limit.
        streams: most streams of one principal at once; None for no limit.

    Raises:
        ValueError: `rate` cannot be read.
    """

    def __init__(self, rate: str | None, streams: int | None) -> None:
        self._rates: list[RateLimitItem] = parse_many(rate) if rate else []
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage()) if self._rates else None
        self._most_streams = streams
        self._streams: Counter[str] = Counter()

    @property
    def counts_requests(self) -> bool:
        """Whether there is a rate."""
        return self._limiter is not None

    async def count_request(self, principal: str) -> None:
        """Count a request of a principal.

        Raises:
            TooManyRequests: one of the rates is used up; it says in how many seconds to come again.
        """
        if self._limiter is None:
            return
        for rate in self._rates:
            if not await self._limiter.hit(rate, principal):
                stats = await self._limiter.get_window_stats(rate, principal)
                LIMITED.labels("rate").inc()
                wait = max(1, math.ceil(stats.reset_time - time.time()))
                raise TooManyRequests(f"At most {rate} are allowed. Come again in {wait} s.", wait)

    def take_stream(self, principal: str) -> "StreamTicket":
        """Count a stream of a principal until its ticket is released.

        Raises:
            TooManyRequests: as many as allowed are open.
        """
        if self._most_streams is not None and self._streams[principal] >= self._most_streams:
            LIMITED.labels("streams").inc()
            raise TooManyRequests(f"At most {self._most_streams} streams may be open at once. Close one first.", 1)
        return StreamTicket(self._streams, principal)


class StreamTicket:
    """One stream of a principal.

    Args:
        open_streams: the count per principal.
        principal: whose.
    """

    def __init__(self, open_streams: Counter[str], principal: str) -> None:
        self._open: Counter[str] | None = open_streams
        self._principal = principal
        open_streams[principal] += 1

    def release(self) -> None:
        """The stream is over; a second call does nothing."""
        if self._open is None:
            return
        self._open[self._principal] -= 1
        if not self._open[self._principal]:
            del self._open[self._principal]
        self._open = None


class TicketedStream(StreamingResponse):
    """A stream that is counted until it ends, however it ends.

    Args:
        ticket: taken before anything is sent.
        content: the stream.
        media_type: its type.
        headers: more headers.
    """

    def __init__(
        self,
        ticket: StreamTicket,
        content: AsyncIterator[str] | AsyncIterator[bytes],
        media_type: str,
        headers: dict[str, str],
    ) -> None:
        self._ticket = ticket
        super().__init__(content, media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ticket.release()
