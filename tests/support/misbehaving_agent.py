"""An agent on loopback that does what agents should not: a raw socket server, so that nothing is too broken to send.

The first segment of the path says how it behaves: a fault of `FAULTS`, or a reply that the test has scripted.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

HEAD = "HTTP/1.1 {status}\r\n{headers}transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
ID = "$ID"


@dataclass(frozen=True)
class Request:
    """A request as it came in; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Reply:
    """Chunks to send with status 200; `$ID` in a text becomes the request's JSON-RPC id, bytes go as they are."""

    chunks: list[str | bytes]
    content_type: str = "application/x-ndjson"


@dataclass
class Connection:
    """One call that is being answered."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send_head(self, status: str = "200 OK", **headers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.writer.write(HEAD.format(status=status, headers=lines).encode())
        await self.writer.drain()

    async def send_chunk(self, chunk: str | bytes) -> None:
        data = chunk.replace(ID, str(self.request.body["id"])).encode() if isinstance(chunk, str) else chunk
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()

    async def send_answer(self, text: str, status: str = "200 OK", **headers: str) -> None:
        await self.send_head(status, content_type="application/json", **headers)
        await self.send_chunk(text)
        self.writer.write(LAST_CHUNK)
        await self.writer.drain()

    async def wait_until_hung_up(self) -> None:
        await self.reader.read()


def result_line(result: object, id: str = ID) -> str:
    """A JSON-RPC response as a line."""
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": result, "error": None}, ensure_ascii=False) + "\n"


def delta_line(text: str, index: int = 0) -> str:
    """A line with a text delta."""
    return result_line({"type": "delta", "index": index, "delta": {"type": "text", "text_delta": text}})


async def hang(connection: Connection) -> None:
    await connection.wait_until_hung_up()


async def answer_no_http(connection: Connection) -> None:
    connection.writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


async def hang_up_at_once(connection: Connection) -> None:
    return


async def answer_no_json(connection: Connection) -> None:
    await connection.send_answer("<html>It works!</html>")


async def answer_no_rpc(connection: Connection) -> None:
    await connection.send_answer('{"status": "ok"}')


async def answer_another_request(connection: Connection) -> None:
    await connection.send_answer(result_line(None, id="task/create-another"))


async def answer_without_end(connection: Connection) -> None:
    await connection.send_head()
    while not connection.reader.at_eof():
        await connection.send_chunk("x" * 4096)
        await asyncio.sleep(0)


async def head_without_end(connection: Connection) -> None:
    connection.writer.write(b"HTTP/1.1 200 OK\r\nx-filler: ")
    await _fill(connection)


async def trailers_without_end(connection: Connection) -> None:
    await connection.send_head(content_type="application/x-ndjson")
    connection.writer.write(b"0\r\nx-filler: ")
    await _fill(connection)


async def _fill(connection: Connection) -> None:
    while not connection.reader.at_eof():
        connection.writer.write(b"x" * 4096)
        await connection.writer.drain()
        await asyncio.sleep(0)


async def dribble(connection: Connection) -> None:
    await connection.send_head()
    while not connection.reader.at_eof():
        await connection.send_chunk(" ")
        await asyncio.sleep(0.005)


async def redirect(connection: Connection) -> None:
    await connection.send_answer("", "307 Temporary Redirect", location="/good/api")


async def answer_500(connection: Connection) -> None:
    await connection.send_answer(result_line(None), "500 Internal Server Error")


async def answer_compressed(connection: Connection) -> None:
    await connection.send_answer(result_line(None), content_encoding="gzip")


async def answer_broken_error(connection: Connection) -> None:
    await connection.send_answer(f'{{"jsonrpc": "2.0", "id": "{ID}", "error": "no"}}')


async def die_in_the_middle(connection: Connection) -> None:
    await connection.send_head(content_type="application/x-ndjson")
    await connection.send_chunk(delta_line("half"))


async def stall_in_the_middle(connection: Connection) -> None:
    await connection.send_head(content_type="application/x-ndjson")
    await connection.send_chunk(delta_line("half"))
    await connection.wait_until_hung_up()


async def answer_twice(connection: Connection) -> None:
    text = result_line("good", str(connection.request.body["id"])).encode()
    first = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)
    connection.writer.write(first + b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\nmore")
    await connection.wait_until_hung_up()


Fault = Callable[[Connection], Awaitable[None]]
FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        hang,
        answer_no_http,
        hang_up_at_once,
        answer_no_json,
        answer_no_rpc,
        answer_another_request,
        answer_without_end,
        head_without_end,
        trailers_without_end,
        dribble,
        redirect,
        answer_500,
        answer_compressed,
        answer_broken_error,
        die_in_the_middle,
        stall_in_the_middle,
        answer_twice,
    )
}


@dataclass
class MisbehavingAgent:
    """The server; use it as an async context manager.

    `requests` has what came in. `changed` is notified at each request and each end of a connection.
    """

    replies: dict[str, Reply] = field(default_factory=lambda: {"good": Reply([result_line("good")])})
    requests: list[Request] = field(default_factory=list)
    ended: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _handlers: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def address(self, behaviour: str, host: str = "127.0.0.1") -> str:
        """The address at which it behaves like this."""
        return f"http://{host}:{self.port}/{behaviour}"

    def script(self, *chunks: str | bytes, content_type: str = "application/x-ndjson") -> str:
        """The address at which it answers with these chunks."""
        name = f"reply-{len(self.replies)}"
        self.replies[name] = Reply(list(chunks), content_type)
        return self.address(name)

    async def wait_for_requests(self, count: int) -> None:
        """Waits until `count` requests have come in since it started."""
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(lambda: len(self.requests) >= count)

    async def wait_for_ends(self, count: int) -> None:
        """Waits until `count` connections have ended since it started; those that hang end when the caller hangs up."""
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(lambda: self.ended >= count)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            request = await _read_request(reader)
            async with self.changed:
                self.requests.append(request)
                self.changed.notify_all()
            await self._answer(Connection(request, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the caller hung up, which is what some tests wait for
        finally:
            writer.close()
            self._handlers.discard(task)
        async with self.changed:
            self.ended += 1
            self.changed.notify_all()

    async def _answer(self, connection: Connection) -> None:
        behaviour = connection.request.path.split("/")[1]
        if behaviour in FAULTS:
            await FAULTS[behaviour](connection)
            return
        reply = self.replies[behaviour]
        await connection.send_head(content_type=reply.content_type)
        for chunk in reply.chunks:
            await connection.send_chunk(chunk)
        connection.writer.write(LAST_CHUNK)
        await connection.writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    return Request(start.split(" ")[1], headers, body)
