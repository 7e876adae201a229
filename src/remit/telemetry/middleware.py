"""The outermost layer: a request id, limits on the raw request, one log line and the metrics of each request."""

import time
import uuid
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from opentelemetry.trace import Span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from remit.budget import request_budget
from remit.errors import Invalid, Refused, RemitError, TooLarge
from remit.telemetry.metrics import REQUEST_SECONDS, REQUESTS
from remit.telemetry.tracing import Tracing, end_request

log = structlog.get_logger("remit.request")


class RequestContext:
    """Gives each request an id of the server's own and bounds what it may send.

    Args:
        app: the application inside.
        max_body_bytes: a longer body is answered 413.
        elsewhere_seconds: how long a request may wait for an engine elsewhere, all its calls together.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, elsewhere_seconds: float = 2.0) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._elsewhere_seconds = elsewhere_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, by the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        tracing: Tracing = scope["app"].state.tracing
        with request_budget(self._elsewhere_seconds), tracing.request(scope["method"], scope["headers"]) as span:
            await self._handle(scope, receive, send, span)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {}).update(request_id=request_id, arrived=time.monotonic())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", request_id.encode()))
                self._measure(scope, status, time.perf_counter() - started)
            await send(message)

        try:
            refusal = self._refuse(scope)
            if refusal is not None:
                await send_problem(send_with_id, refusal, request_id)
                return
            await self._app(scope, self._bounded(scope, receive), send_with_id)
        except Exception:
            # Starlette would answer outside of this layer, without the request's id and uncounted.
            log.exception("request failed", method=scope["method"], route=route_of(scope))
            if status:
                raise
            told = RemitError("Something went wrong here. The log has it under the request id.")
            await send_problem(send_with_id, told, request_id)
        finally:
            end_request(span, scope["method"], route_of(scope), status, request_id)
            log.info(
                "request",
                method=scope["method"],
                route=route_of(scope),
                status=status or None,
                milliseconds=round((time.perf_counter() - started) * 1000, 2),
            )

    def _refuse(self, scope: Scope) -> RemitError | None:
        if "\x00" in scope["path"]:
            return Invalid([("path", "must not contain the character U+0000")])
        if b"%00" in scope["query_string"]:
            return Invalid([("query", "must not contain the character U+0000")])
        return None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The request body may have at most {self._max_body_bytes} bytes.")

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        # The refusal is raised where the body is read, so that each route tells it in its own protocol.
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = announced.isdigit() and int(announced) > self._max_body_bytes
        seen = 0

        async def receive_bounded() -> Message:
            nonlocal seen
            if too_large:
                raise Refused(self._too_large())
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._max_body_bytes:
                    raise Refused(self._too_large())
            return message

        return receive_bounded

    @staticmethod
    def _measure(scope: Scope, status: int, seconds: float) -> None:
        route, state = route_of(scope), scope["state"]
        operation = state.get("operation") or getattr(scope.get("route"), "name", None) or "(none)"
        outcome = state.get("outcome") or outcome_of(status)
        REQUESTS.labels(route, scope["method"], status, operation, outcome).inc()
        REQUEST_SECONDS.labels(route).observe(seconds)


def outcome_of(status: int) -> str:
    """What became of a request, by its status: `ok`, `denied`, `limited`, `invalid` or `error`."""
    if status < 400:
        return "ok"
    if status >= 500:
        return "error"
    return {401: "denied", 403: "denied", 404: "denied", 429: "limited"}.get(status, "invalid")


def route_of(scope: Scope) -> str:
    """The path template of the request, so that metrics and logs hold no ids."""
    return getattr(scope.get("route"), "path", None) or "(none)"


async def send_problem(send: Send, error: RemitError, request_id: str | None) -> None:
    """Answer with an error outside the application's own handlers."""
    body: dict[str, Any] = error.body(request_id)
    headers = {"content-type": "application/problem+json", **error.headers()}
    await send(
        {
            "type": "http.response.start",
            "status": HTTPStatus(error.status).value,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": orjson.dumps(body)})
