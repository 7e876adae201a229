"""A TCP proxy between a process and its database or its engine, which passes on whole messages, or does not."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from support.processes import free_port

from faults.frames import Http1, Piece, PostgresAnswers, PostgresRequests, Session
from faults.gate import Direction, Fault, Gate
from faults.http2 import Call, Http2Answers, Http2Requests, refuse

LOST_SECONDS = 0.6
REPLAY_SECONDS = 3
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
_CHUNK = 65536


class Framer(Protocol):
    """One direction of a connection in pieces."""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that are complete."""


def _framers(protocol: str, calls: dict[int, Call]) -> tuple[Framer, Framer]:
    if protocol == "postgres":
        session = Session()
        return PostgresRequests(session), PostgresAnswers(session)
    if protocol == "http2":
        return Http2Requests(calls), Http2Answers(calls)
    asked: deque[str] = deque()
    return Http1(asked), Http1(asked)


@dataclass(eq=False)
class _Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    calls: dict[int, Call] = field(default_factory=dict)
    late_streams: set[int] = field(default_factory=set)
    swallowing: set[Direction] = field(default_factory=set)

    def cut(self) -> None:
        """End it on both sides, as a broken line does."""
        for writer in (self.client, self.server):
            with contextlib.suppress(Exception):
                writer.transport.abort()


class Proxy:
    """Listens on a port of its own and passes on to `host:port`, or to a unix socket.

    Args:
        gate: decides about each message.
        kind: of its connections, as points name it.
        protocol: `postgres`, `http2` or `http1`.
        upstream: `host:port`, or the path of a socket.
    """

    def __init__(self, gate: Gate, kind: str, protocol: str, upstream: str) -> None:
        self._gate = gate
        self.kind = kind
        self._protocol = protocol
        self._upstream = upstream
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = free_port()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Listen no more, and cut what there is."""
        if self._server is not None:
            self._server.close()
        self.cut_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_all(self) -> None:
        """Cut every connection."""
        for link in list(self._links):
            link.cut()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._upstream.startswith("/"):
            return await asyncio.open_unix_connection(self._upstream)
        host, _, port = self._upstream.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._gate.states.get(self.kind) == "down":
            writer.transport.abort()
            return
        try:
            from_server, to_server = await self._dial()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, to_server)
        self._links.add(link)
        requests, answers = _framers(self._protocol, link.calls)
        pumps = [
            asyncio.create_task(self._pump(link, "request", reader, to_server, requests)),
            asyncio.create_task(self._pump(link, "answer", from_server, writer, answers)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if "request" in link.swallowing or "answer" in link.swallowing:
                await asyncio.wait(pumps, timeout=LOST_SECONDS)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            link.cut()
            self._links.discard(link)

    async def _pump(
        self,
        link: _Link,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        framer: Framer,
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while data := await reader.read(_CHUNK):
                for piece in framer.feed(data):
                    await self._pass(link, direction, writer, piece)

    async def _pass(self, link: _Link, direction: Direction, writer: asyncio.StreamWriter, piece: Piece) -> None:
        if piece.answer:
            link.client.write(piece.answer)
            return
        if direction in link.swallowing or (piece.stream in link.late_streams and direction == "request"):
            return
        state = self._gate.states.get(self.kind, "up")
        if state == "down":
            raise ConnectionResetError
        if state == "hangs":
            return
        if state == "refuses" and direction == "request" and piece.label is not None:
            link.client.write(refuse(piece.stream) if self._protocol == "http2" else UNAVAILABLE)
            return
        fault = self._gate.see(self.kind, direction, piece.label) if piece.label is not None else None
        if state == "slow" and piece.label is not None and self._gate.operation is not None:
            await asyncio.sleep(self._gate.slow_seconds)
        if fault is None:
            await self._write(writer, piece)
        else:
            await self._break(fault, link, direction, writer, piece)

    async def _write(self, writer: asyncio.StreamWriter, piece: Piece) -> None:
        writer.write(piece.data)
        await writer.drain()

    async def _break(
        self, fault: Fault, link: _Link, direction: Direction, writer: asyncio.StreamWriter, piece: Piece
    ) -> None:
        gate = self._gate
        call = link.calls[piece.stream].say_again() if piece.stream in link.calls else piece.data
        if fault.action == "late":
            link.late_streams.add(piece.stream)
            gate.hold(fault, lambda: self._replay(call))
            return
        if fault.action == "lose":
            link.swallowing.add(direction)
            await asyncio.sleep(LOST_SECONDS)
            link.cut()
            return
        if fault.action == "delay":
            await asyncio.sleep(fault.seconds)
            await self._write(writer, piece)
            return
        if fault.action == "duplicate":
            await self._write(writer, piece)
            await self._replay(call)
            return
        if fault.after:
            await self._write(writer, piece)
            if direction == "request":
                await asyncio.sleep(0.02)  # so that it has arrived and is at work
        if fault.action != "cut":
            assert gate.on_hit is not None, "a site says what happens to processes"
            await gate.on_hit(fault)
            if fault.action == "pause-server" and not fault.after:
                await self._write(writer, piece)
                return
        if fault.action == "cut" or (not fault.after and fault.action.startswith("kill")):
            link.cut()

    async def _replay(self, data: bytes) -> None:
        """Say something on a connection of its own, and wait for the answer: a line that was thought to be dead."""
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await self._dial()
            calls = {1: Call()}
            _, answers = _framers(self._protocol, calls)
            try:
                writer.write(data)
                await writer.drain()
                async with asyncio.timeout(REPLAY_SECONDS):
                    while said := await reader.read(_CHUNK):
                        if any(piece.label is not None for piece in answers.feed(said)) or not calls:
                            return
            finally:
                writer.transport.abort()
