"""One HTTP/1.1 request to an agent and its answer, on a connection of its own, parsed by `httptools`."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from urllib.parse import urlsplit

import httptools

from remit.agents.addresses import AgentDialer

# What may wait here unread before the agent is held up, and what may come in a row without anything of a body: a head,
# extensions of chunks, trailers. The parser keeps a line until it ends.
MOST_WAITING_BYTES = 256 * 1024
MOST_FRAMING_BYTES = 64 * 1024


class BrokenAnswer(Exception):
    """The connection ended before a whole answer had come, or what came is not HTTP."""


def write_request(verb: str, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A request as it goes over the wire.

    Args:
        verb: the method.
        url: checked before; its host becomes the header `host`.
        headers: beside `host` and `content-length`.
        body: may be empty.

    Raises:
        ValueError: a line break stands where it would begin another header.
    """
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"{verb} {path} HTTP/1.1".encode("ascii"),
        b"host: " + parts.netloc.encode("ascii"),
        b"content-length: %d" % len(body),
        *(b"%b: %b" % pair for pair in headers),
    ]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise ValueError("a line break in the head of a request")
    return b"\r\n".join((*lines, b"", body))


class AgentConnection(asyncio.Protocol):
    """The answer to a request, as it comes.

    Attributes:
        status: of the answer, once its head is there.
        headers: its headers, names in lower case.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._chunks: list[bytes] = []
        self._waiting = self._framing = 0
        self._begun = self._complete = self._paused = False
        self._broken: BrokenAnswer | None = None

    @classmethod
    async def open(cls, dialer: AgentDialer, url: str, *, tls: ssl.SSLContext, seconds: float) -> "AgentConnection":
        """Connect; `close` ends the connection.

        Args:
            dialer: makes connections.
            url: whom to connect to.
            tls: for `https`.
            seconds: to connect.

        Raises:
            AddressRefused, DialFailed: as `AgentDialer.connect`.
        """
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        return await dialer.connect(
            cls, parts.hostname or "", parts.port or (443 if secure else 80), seconds, tls if secure else None
        )

    async def send(self, request: bytes, seconds: float) -> None:
        """Send the request, and wait for the head of the answer.

        Args:
            request: of `write_request`.
            seconds: to wait for the head.

        Raises:
            BrokenAnswer: no answer came.
            TimeoutError: none in time.
        """
        assert self._transport is not None, "a connection that was opened has a transport"
        self._transport.write(request)
        while not self._begun:
            await self._wait(seconds)

    async def chunks(self, seconds: float) -> AsyncIterator[bytes]:
        """The body as it comes.

        Args:
            seconds: to wait for each further piece.

        Raises:
            BrokenAnswer: it broke off; what had come before was given.
            TimeoutError: nothing came in time.
        """
        while True:
            if self._chunks:
                taken = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks.clear()
                self._waiting = 0
                if self._paused and self._transport is not None:
                    self._paused = False
                    self._transport.resume_reading()
                yield taken
            elif self._complete:
                return
            else:
                await self._wait(seconds)

    def close(self) -> None:
        """Hang up; what the agent did not take of the request is dropped, and whoever waits for its answer is told."""
        self._break("it was ended here")
        if self._transport is not None:
            (self._transport.abort if self._transport.get_write_buffer_size() else self._transport.close)()

    async def _wait(self, seconds: float) -> None:
        if self._broken is not None:
            raise self._broken
        self._waiter = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(seconds):
            await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break(self, why: str) -> None:
        if not self._complete and self._broken is None:
            self._broken = BrokenAnswer(why)
        self._wake()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = transport  # type: ignore[assignment]  # of a stream; uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._complete or self._broken is not None:
            return
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break(f"not HTTP: {error!r}")
        if self._framing > MOST_FRAMING_BYTES:
            self._break("a head or a chunk's frame has no end")
        if self._waiting > MOST_WAITING_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended: the end of a body that says no length itself."""
        if self._begun and self._broken is None and exc is None and self._ends_with_connection():
            self._complete = True
        self._break(f"the connection ended ({exc!r})")

    def _ends_with_connection(self) -> bool:
        return all(name not in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the answer."""
        if not self._begun:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is complete; one that only announces another answer does not count."""
        if self._complete:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
        else:
            self._begun = True

    def on_body(self, body: bytes) -> None:
        """A part of the body; what comes after the answer is nobody's."""
        if self._complete:
            return
        self._chunks.append(body)
        self._waiting += len(body)
        self._framing = 0

    def on_message_complete(self) -> None:
        """The answer is complete."""
        self._complete = self._begun


def header_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The first value of a header, in lower case, empty when there is none."""
    return next((value.decode("latin-1").lower() for key, value in headers if key == name), "")
