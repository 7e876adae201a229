"""An agent whose every answer a test decides, in the test's own event loop."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
WAIT_SECONDS = 30

Update = dict[str, Any]


def start(index: int = 0, content: str = "") -> Update:
    """The update that begins a text."""
    return {"type": "start", "index": index, "content": {"type": "text", "author": "agent", "content": content}}


def delta(piece: str, index: int = 0) -> Update:
    """A piece of a text."""
    return {"type": "delta", "index": index, "delta": {"type": "text", "text_delta": piece}}


def full(content: str, index: int = 0) -> Update:
    """A text in one piece."""
    return {"type": "full", "index": index, "content": {"type": "text", "author": "agent", "content": content}}


def done(index: int = 0) -> Update:
    """The end of a message."""
    return {"type": "done", "index": index}


@dataclass
class AgentCall:
    """One call that the server has made. `send` a line, then `finish`, or `die` in the middle."""

    method: str
    params: dict[str, Any]
    headers: dict[str, str]
    id: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _started: bool = False

    @property
    def task_id(self) -> str:
        return str(self.params["task"]["id"])

    async def send_line(self, line: str) -> None:
        """Send a line as it is."""
        if not self._started:
            self._started = True
            self.writer.write(HEAD)
        data = line.encode() + b"\n"
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()

    async def send(self, *updates: Any) -> None:
        """Send results, each as a line."""
        for update in updates:
            await self.send_line(json.dumps({"jsonrpc": "2.0", "id": self.id, "result": update}))

    async def fail(self, message: str, code: int = -32000) -> None:
        """Answer with an error, and end."""
        error = {"code": code, "message": message}
        await self.send_line(json.dumps({"jsonrpc": "2.0", "id": self.id, "error": error}))
        await self.finish()

    async def finish(self) -> None:
        """End the answer as HTTP wants it."""
        self.writer.write(LAST_CHUNK)
        await self.writer.drain()
        self.ended.set()

    def die(self) -> None:
        """Cut the connection."""
        self.writer.transport.abort()
        self.ended.set()

    async def wait_until_hung_up(self) -> None:
        """Wait until the server closes the connection."""
        # In the middle of an answer the server hangs up without reading the rest, which breaks the pipe.
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self.reader.read()


Handler = Callable[[AgentCall], Awaitable[None]]


async def echo(call: AgentCall) -> None:
    """Answer a message by saying it back in pieces, anything else with null."""
    if call.method != "message/send":
        await call.send(None)
    else:
        await call.send(start(), delta("You said: "), delta(str(call.params["content"].get("content"))), done())
    await call.finish()


async def hang(call: AgentCall) -> None:
    """Answer nothing until the server hangs up."""
    await call.wait_until_hung_up()


@dataclass
class FakeAgent:
    """The agent process; an async context manager.

    `handle` answers each call; with `by_hand` calls wait for the test, which gets them from `next_call`.
    """

    handle: Handler = echo
    calls: list[AgentCall] = field(default_factory=list)
    _arrived: asyncio.Queue[AgentCall] = field(default_factory=asyncio.Queue)
    _handlers: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def next_call(self) -> AgentCall:
        """The next call that comes in."""
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._arrived.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            call = await _read_call(reader, writer)
            if call is None:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                await writer.drain()
                return
            self.calls.append(call)
            self._arrived.put_nowait(call)
            await self.handle(call)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the server hung up
        finally:
            writer.close()
            self._handlers.discard(task)


async def by_hand(call: AgentCall) -> None:
    """Leave a call to the test."""
    await call.ended.wait()


async def _read_call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AgentCall | None:
    """A call of the server's own; None for a request to another path, which was forwarded."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if " /api " not in first:
        return None
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    return AgentCall(body["method"], body["params"], headers, body["id"], reader, writer)
