"""Traces by OpenTelemetry, when an endpoint is set: a span for each request, and one for each call of an agent.

Spans are named by route and method, never by id. A caller's `traceparent` is continued (W3C Trace Context), and the
agent is given that of its call: one trace goes from the user's program through the server into the agent.
"""

import asyncio
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import (
    NoOpTracerProvider,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from remit.settings import Settings
from remit.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

FLUSH_SECONDS = 2
_CONTEXT = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of one process.

    Args:
        provider: where spans go; None makes no spans and passes a caller's trace on as it is.
    """

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._tracer: Tracer = (provider or NoOpTracerProvider()).get_tracer("remit", __version__)

    @classmethod
    def open(cls, settings: Settings) -> "Tracing":
        """What the settings ask for.

        Raises:
            RuntimeError: an endpoint is set and the extra `telemetry` is not installed.
        """
        if not settings.otlp_endpoint:
            return cls()
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise RuntimeError('REMIT_OTLP_ENDPOINT needs the extra: pip install "remit[telemetry]"') from error
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "remit"}), shutdown_on_exit=False)
        endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=FLUSH_SECONDS)))
        return cls(provider)

    @contextmanager
    def request(self, method: str, headers: list[tuple[bytes, bytes]]) -> Iterator[Span]:
        """The span of a request, current while the block lasts; the caller's trace is continued.

        Args:
            method: the HTTP method.
            headers: of the request, as ASGI has them.
        """
        if self._provider is None:
            yield self._tracer.start_span("request")
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        span = self._tracer.start_span(method, context=_CONTEXT.extract(carrier), kind=SpanKind.SERVER)
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield span

    def begin_call(self, method: str, headers: MutableMapping[str, str]) -> Span:
        """The span of a call to an agent, which the caller ends; its `traceparent` is put into the headers.

        Args:
            method: the JSON-RPC method.
            headers: of the call, by lower-case name.
        """
        span = self._tracer.start_span(method, kind=SpanKind.CLIENT)
        if self._provider is not None:
            span.set_attributes({"rpc.system": "jsonrpc", "rpc.method": method})
            headers.pop("tracestate", None)
            _CONTEXT.inject(headers, context=set_span_in_context(span))
        return span

    async def aclose(self) -> None:
        """Send what is left, for two seconds at most."""
        if self._provider is not None:
            await asyncio.to_thread(self._provider.force_flush, FLUSH_SECONDS * 1000)
            await asyncio.to_thread(self._provider.shutdown)


def end_request(span: Span, method: str, route: str, status: int, request_id: str) -> None:
    """Say how a request was answered (OpenTelemetry's conventions for HTTP spans)."""
    if not span.is_recording():
        return
    span.update_name(f"{method} {route}")
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        "remit.request_id": request_id,
    }
    span.set_attributes(attributes)
    if status >= 500 or not status:
        span.set_status(StatusCode.ERROR)
