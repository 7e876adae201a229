"""A client that costs little: requests as bytes on connections that stay open, so many in flight."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import orjson

Request = tuple[str, str, dict[str, str], Any]
"""Method, path, headers, body (JSON) or None."""


def encode(request: Request) -> bytes:
    """A request as it goes over the wire."""
    method, path, headers, body = request
    content = b"" if body is None else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "host: bench", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(content)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


class Connection(asyncio.Protocol):
    """One connection; `ask` sends a request and returns when its answer is complete."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asked what it is: the transports of uvloop are no children of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    async def ask(self, data: bytes) -> bytes:
        """Send one request, return the body of its answer.

        Raises:
            RuntimeError: it was not answered 200.
        """
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.first: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self._transport.write(data)
        await self._done
        if (status := self._parser.get_status_code()) not in (200, 204):
            raise RuntimeError(f"answered {status}: {self.body[:300]!r} to {data[:300]!r}")
        return self.body

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        if self.first is None:
            self.first = time.perf_counter_ns()
        self.body += body

    def on_message_complete(self) -> None:
        self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_done") and not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        self._transport.close()


@dataclass
class Measured:
    """One round of one case.

    Attributes:
        seconds: how long it lasted.
        latencies: of its requests, in milliseconds.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


class Client:
    """Connections to one or more servers.

    Args:
        ports: where they listen on the loopback address.
        in_flight: how many requests at once, spread evenly over the servers.
    """

    def __init__(self, ports: Sequence[int], in_flight: int) -> None:
        self._ports, self._in_flight = ports, in_flight
        self._connections: list[Connection] = []

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for number in range(self._in_flight):
            port = self._ports[number % len(self._ports)]
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            self._connections.append(connection)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def one(self, data: bytes) -> Connection:
        """Send a single request; the connection has what came back."""
        await self._connections[0].ask(data)
        return self._connections[0]

    async def run(
        self,
        make: Callable[[int], bytes],
        seconds: float = float("inf"),
        requests: float = float("inf"),
        on_answer: Callable[[Connection], None] = lambda _: None,
        pause: Callable[[], float] = lambda: 0.0,
    ) -> Measured:
        """Send what `make(worker)` gives, `in_flight` at once, for so long or so many.

        Args:
            make: the next request of a worker.
            seconds: for how long requests are begun.
            requests: how many.
            on_answer: called with the connection that an answer came on.
            pause: seconds that a worker waits before each request.
        """
        latencies: list[float] = []
        started = time.perf_counter()
        left = requests

        async def work(number: int, connection: Connection) -> None:
            nonlocal left
            while left > 0 and time.perf_counter() - started < seconds:
                left -= 1
                if seconds_to_wait := pause():
                    await asyncio.sleep(seconds_to_wait)
                data = make(number)
                begun = time.perf_counter()
                await connection.ask(data)
                latencies.append((time.perf_counter() - begun) * 1000)
                on_answer(connection)

        await asyncio.gather(*(work(number, one) for number, one in enumerate(self._connections)))
        return Measured(time.perf_counter() - started, latencies)
