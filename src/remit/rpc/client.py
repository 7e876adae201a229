"""Calls agent processes: JSON-RPC 2.0 over `POST {address}/api`."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, Self

import httpx
import orjson
import structlog

from remit.agents.addresses import AddressRefused, AgentDialer, dial_address
from remit.content import TaskMessageUpdate
from remit.rpc.answers import AgentRubbish, LineSplitter, UpdateReader, read_answer
from remit.rpc.connection import AgentConnection, header_of, write_request
from remit.rpc.exchange import AgentUnreachable, Exchange, rpc_id, typed_errors
from remit.rpc.headers import forward_headers
from remit.settings import Settings
from remit.telemetry.tracing import Tracing

# Agents are slow, so calls in progress are many and cheap; the bounds keep file descriptors for everything else, and
# one agent that hangs from taking the connections of all others.
MAX_CONNECTIONS = 2000
MAX_CALLS_PER_AGENT = 500

# Reading the certificates that are trusted takes longer than all else of a start: once in a process.
_read_certificates = cache(partial(httpx.create_ssl_context, trust_env=False))

AgentMethod = Literal["task/create", "event/send", "task/cancel", "task/interrupt"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """An agent's answer to a request that was passed on."""

    status: int
    content_type: str | None
    body: bytes


class AgentClient:
    """The process's one way to its agents; made when the process starts, closed when it ends.

    Every call has a connection of its own. A kept one that the agent closes at the moment it is used again fails a
    call that must not be repeated, and next to what an agent does, connecting costs nothing. Redirects are not
    followed, no proxy is taken from the environment, cookies are not kept, compressed answers are not asked for.
    """

    def __init__(self, settings: Settings, tracing: Tracing | None = None) -> None:
        self._settings = settings
        self._tracing = tracing or Tracing()
        self._dialer = AgentDialer()
        self._tls = _read_certificates()
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._open_now: set[AgentConnection] = set()
        self._calls: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every connection; calls in progress fail."""
        for connection in self._open_now:
            connection.close()
        self._dialer.close()

    async def call(
        self,
        url: str,
        method: AgentMethod,
        params: Mapping[str, Any],
        *,
        request_id: str,
        headers: Mapping[str, str] | None = None,
    ) -> object:
        """Calls a method and waits for its answer. Cancelling it closes the connection to the agent.

        Args:
            url: the address as the agent registered it.
            method: what to call.
            params: with `task` and `agent` as the API shows them; anything that orjson writes.
            request_id: sent as `x-request-id`.
            headers: the caller's headers; what `forward_headers` lets through is sent.

        Returns:
            the `result` of the answer, None included.

        Raises:
            AgentError: see `rpc/exchange.py`.
        """
        exchange = self._begin(url, method, params, request_id, headers)
        seconds = self._settings.agent_answer_timeout
        with typed_errors(exchange):
            async with asyncio.timeout(seconds), self._send(exchange, read_timeout=seconds) as response:
                body = b"".join([chunk async for chunk in self._read(response, seconds)])
            return read_answer(body, exchange.id)

    async def stream(
        self,
        url: str,
        params: Mapping[str, Any],
        *,
        request_id: str,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[TaskMessageUpdate, None]:
        """Calls `message/send` and yields the agent's updates as they come, `parent_task_message` always None.

        Closing the generator (`contextlib.aclosing`) or cancelling its reader closes the connection to the agent.
        An agent that answers in one piece, with a message's content or a list of them, gives a `full` for each.

        Args:
            url: as in `call`.
            request_id: as in `call`.
            headers: as in `call`.
            params: with `task`, `agent`, `content` and `stream`.

        Raises:
            AgentError: see `rpc/exchange.py`; what was yielded before it stands.
        """
        exchange = self._begin(url, "message/send", params, request_id, headers)
        with typed_errors(exchange):
            seconds = self._settings.agent_stream_timeout
            async with self._send(exchange, read_timeout=seconds) as response:
                lines = LineSplitter(whole=_content_type(response) == "application/json")
                updates = UpdateReader(exchange.id)
                async for chunk in self._read(response, seconds):
                    for line in lines.feed(chunk):
                        for update in updates.read(line):
                            yield update
                for line in lines.close():
                    for update in updates.read(line):
                        yield update

    async def forward(
        self, url: str, verb: str, target: str, *, request_id: str, headers: Mapping[str, str], body: bytes
    ) -> Forwarded:
        """Passes a request on as it is and gives the whole answer, whatever its status but a redirect.

        Args:
            url: as in `call`.
            verb: GET or POST.
            target: path and query, quoted, appended to the address.
            request_id: as in `call`.
            headers: what is sent beside the client's own, by lower-case name.
            body: as it came.

        Raises:
            AgentError: see `rpc/exchange.py`.
        """
        address = self._dial(url, "forward", request_id=request_id)
        sent = {**headers, "accept-encoding": "identity", "connection": "close", "x-request-id": request_id}
        span = self._tracing.begin_call("forward", sent)
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
        exchange = Exchange(url, address, "forward", "", request_id, pairs, body, span, verb, target)
        seconds = self._settings.forward_timeout
        with typed_errors(exchange):
            async with asyncio.timeout(seconds), self._open(exchange, read_timeout=seconds) as response:
                content = b"".join([chunk async for chunk in self._read(response, seconds)])
                types = [value.decode("latin-1") for name, value in response.headers if name == b"content-type"]
                return Forwarded(response.status, types[0] if types else None, content)

    def _dial(self, url: str, method: str, **known: str) -> str:
        try:
            return dial_address(url, self._settings)
        except AddressRefused as error:
            log.warning("agent address refused", method=method, reason=str(error), **known)
            raise AgentUnreachable("The agent's address is not one that the server calls.") from error

    def _begin(
        self, url: str, method: str, params: Mapping[str, Any], request_id: str, headers: Mapping[str, str] | None
    ) -> Exchange:
        task_id = params["task"]["id"]
        address = self._dial(url, method, task_id=task_id, request_id=request_id)
        sent = {
            **forward_headers(headers or {}),
            "accept": "application/x-ndjson, application/json" if method == "message/send" else "application/json",
            "accept-encoding": "identity",
            "connection": "close",
            "content-type": "application/json",
            "user-agent": "remit",
            "x-request-id": request_id,
        }
        span = self._tracing.begin_call(method, sent)
        envelope = {"jsonrpc": "2.0", "id": rpc_id(method, task_id), "method": method, "params": dict(params)}
        return Exchange(
            registered=url,
            address=address,
            method=method,
            task_id=task_id,
            request_id=request_id,
            headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            body=orjson.dumps(envelope),
            span=span,
        )

    @asynccontextmanager
    async def _send(self, exchange: Exchange, *, read_timeout: float) -> AsyncIterator[AgentConnection]:
        """Sends the call; gives the response once its head is there and is a plain 2xx."""
        async with self._open(exchange, read_timeout=read_timeout) as response:
            if not 200 <= response.status < 300:
                raise AgentRubbish(f"The agent answered with HTTP status {response.status}.")
            yield response

    @asynccontextmanager
    async def _open(self, exchange: Exchange, *, read_timeout: float) -> AsyncIterator[AgentConnection]:
        """Sends what is to be sent; gives the response once its head is there, whatever its status but a redirect."""
        if self._calls[exchange.address] >= MAX_CALLS_PER_AGENT:
            raise AgentUnreachable("Too many calls to the agent are in progress. Try again when some have ended.")
        self._calls[exchange.address] += 1
        try:
            async with self._connection(exchange, read_timeout) as response:
                if 300 <= response.status < 400:
                    raise AgentRubbish("The agent answered with a redirect, which is not followed.")
                if header_of(response.headers, b"content-encoding") not in ("", "identity"):
                    raise AgentRubbish("The agent answered in an encoding that was not asked for.")
                yield response
        finally:
            self._calls[exchange.address] -= 1
            if not self._calls[exchange.address]:
                del self._calls[exchange.address]

    @asynccontextmanager
    async def _connection(self, exchange: Exchange, read_timeout: float) -> AsyncIterator[AgentConnection]:
        seconds = self._settings.agent_connect_timeout
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise AgentUnreachable("Too many calls to agents are in progress. Try again shortly.") from error
        try:
            url = exchange.address + exchange.target
            request = write_request(exchange.verb, url, exchange.headers, exchange.body)
            connection = await AgentConnection.open(self._dialer, url, tls=self._tls, seconds=seconds)
            self._open_now.add(connection)
            try:
                await connection.send(request, read_timeout)
                yield connection
            finally:
                self._open_now.discard(connection)
                connection.close()
        finally:
            self._free.release()

    async def _read(self, response: AgentConnection, seconds: float) -> AsyncIterator[bytes]:
        limit = self._settings.agent_max_answer_bytes
        size = 0
        async for chunk in response.chunks(seconds):
            size += len(chunk)
            if size > limit:
                raise AgentRubbish(f"The agent's answer is larger than {limit} bytes.")
            yield chunk


def _content_type(response: AgentConnection) -> str:
    return header_of(response.headers, b"content-type").partition(";")[0].strip()
