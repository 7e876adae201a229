"""Calls agent processes: JSON-RPC 2.0 over `POST {address}/api`."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self

import httpcore
import orjson
import structlog

from remit.agents.addresses import AddressRefused, CheckedBackend, dial_address
from remit.content import TaskMessageUpdate
from remit.rpc.answers import AgentRubbish, LineSplitter, UpdateReader, read_answer
from remit.rpc.exchange import AgentUnreachable, Exchange, rpc_id, typed_errors
from remit.rpc.headers import forward_headers
from remit.settings import Settings
from remit.telemetry.tracing import Tracing

# Agents are slow, so calls in progress are many and cheap; the bounds keep file descriptors for everything else, and
# one agent that hangs from taking the connections of all others.
MAX_CONNECTIONS = 2000
MAX_CALLS_PER_AGENT = 500

# Reading the certificates that are trusted takes longer than all else of a start: once in a process.
_read_certificates = cache(httpcore.default_ssl_context)


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
        self._backend = CheckedBackend()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_read_certificates(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=0,
            network_backend=self._backend,
        )
        self._calls: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every connection; calls in progress fail."""
        await self._pool.aclose()
        self._backend.close()

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
                body = b"".join([chunk async for chunk in self._read(response)])
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
            async with self._send(exchange, read_timeout=self._settings.agent_stream_timeout) as response:
                lines = LineSplitter(whole=_content_type(response) == "application/json")
                updates = UpdateReader(exchange.id)
                async for chunk in self._read(response):
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
                content = b"".join([chunk async for chunk in self._read(response)])
                types = [value.decode("latin-1") for name, value in response.headers if name.lower() == b"content-type"]
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
    async def _send(self, exchange: Exchange, *, read_timeout: float) -> AsyncIterator[httpcore.Response]:
        """Sends the call; gives the response once its head is there and is a plain 2xx."""
        async with self._open(exchange, read_timeout=read_timeout) as response:
            if not 200 <= response.status < 300:
                raise AgentRubbish(f"The agent answered with HTTP status {response.status}.")
            yield response

    @asynccontextmanager
    async def _open(self, exchange: Exchange, *, read_timeout: float) -> AsyncIterator[httpcore.Response]:
        """Sends what is to be sent; gives the response once its head is there, whatever its status but a redirect."""
        if self._calls[exchange.address] >= MAX_CALLS_PER_AGENT:
            raise AgentUnreachable("Too many calls to the agent are in progress. Try again when some have ended.")
        connect = self._settings.agent_connect_timeout
        timeouts = {"connect": connect, "pool": connect, "write": read_timeout, "read": read_timeout}
        self._calls[exchange.address] += 1
        try:
            async with self._pool.stream(
                exchange.verb,
                exchange.address + exchange.target,
                headers=exchange.headers,
                content=exchange.body,
                extensions={"timeout": timeouts},
            ) as response:
                if 300 <= response.status < 400:
                    raise AgentRubbish("The agent answered with a redirect, which is not followed.")
                if _header(response, b"content-encoding") not in ("", "identity"):
                    raise AgentRubbish("The agent answered in an encoding that was not asked for.")
                yield response
        finally:
            self._calls[exchange.address] -= 1
            if not self._calls[exchange.address]:
                del self._calls[exchange.address]

    async def _read(self, response: httpcore.Response) -> AsyncIterator[bytes]:
        limit = self._settings.agent_max_answer_bytes
        size = 0
        async for chunk in response.aiter_stream():
            size += len(chunk)
            if size > limit:
                raise AgentRubbish(f"The agent's answer is larger than {limit} bytes.")
            yield chunk


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1").lower() for key, value in response.headers if key.lower() == name), "")


def _content_type(response: httpcore.Response) -> str:
    return _header(response, b"content-type").partition(";")[0].strip()
