"""One client, several servers: each request goes to the next one, as behind an address that spreads requests."""

from collections.abc import Sequence
from itertools import cycle

import httpx


class _Turns:
    """Whose turn it is.

    Args:
        urls: of the servers; requests to the first one are spread over all, others go where they say.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._first = httpx.URL(urls[0])
        self._next = cycle([httpx.URL(url) for url in urls])

    def send_to_the_next(self, request: httpx.Request) -> None:
        if (request.url.host, request.url.port) == (self._first.host, self._first.port):
            server = next(self._next)
            request.url = request.url.copy_with(host=server.host, port=server.port)


class AsyncAlternating(httpx.AsyncHTTPTransport):
    """The transport of an asynchronous client."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__(limits=httpx.Limits(max_connections=None))
        self._turns = _Turns(urls)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._turns.send_to_the_next(request)
        return await super().handle_async_request(request)


class Alternating(httpx.HTTPTransport):
    """The transport of a blocking client."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__(limits=httpx.Limits(max_connections=None))
        self._turns = _Turns(urls)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._turns.send_to_the_next(request)
        return super().handle_request(request)
