"""Traces: one goes from the user's program through the server into the agent, and reaches a real collector's door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.agent import FakeAgent
from support.graph import make_world, open_seeder
from support.processes import free_port
from support.server import serve

WAIT_SECONDS = 20
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@dataclass
class Collector:
    """Takes spans as a collector does."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        told = ExportTraceServiceRequest.FromString(await request.body())
        self.spans += [span for one in told.resource_spans for scope in one.scope_spans for span in scope.spans]
        return Response(b"", media_type="application/x-protobuf")


@asynccontextmanager
async def run_collector() -> AsyncIterator[Collector]:
    collector = Collector(f"http://127.0.0.1:{(port := free_port())}")
    app = Starlette(routes=[Route("/v1/traces", collector.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(WAIT_SECONDS):
        while not server.started:  # noqa: ASYNC110 - the server offers no event
            await asyncio.sleep(0.01)
    try:
        yield collector
    finally:
        server.should_exit = True
        await serving


async def test_one_trace_goes_through_server_and_agent(database: str, fake: FakeAgent) -> None:
    async with run_collector() as collector:
        async with (
            serve(database, otlp_endpoint=collector.url) as server,
            open_seeder(database, server.url) as seeder,
        ):
            world = await make_world(seeder)
            agent = await world.make_agent(fake.url, "async")
            body = {"method": "task/create", "params": {"name": "traced"}}
            sent = {"json": body, "headers": {"traceparent": TRACEPARENT, "baggage": "a=b"}}
            response = await world.alice.call("POST", f"/agents/{agent.id}/rpc", **sent)
            assert response.status_code == 200
            await world.alice.get("/tasks/01a21a94-14ca-77cf-ac68-60e3efea49c0")
        spans = {span.name: span for span in collector.spans}
    served = spans["POST /agents/{agent_id}/rpc"]
    called = spans["task/create"]
    assert served.trace_id.hex() == called.trace_id.hex() == TRACE
    assert served.parent_span_id.hex() == PARENT
    assert called.parent_span_id == served.span_id
    (call,) = fake.calls
    assert call.headers["traceparent"] == f"00-{TRACE}-{called.span_id.hex()}-01"
    assert call.headers["baggage"] == "a=b"
    other = spans["GET /tasks/{task_id}"]
    assert other.trace_id.hex() != TRACE
    values = {attribute.key: attribute.value for attribute in other.attributes}
    assert values["http.response.status_code"].int_value == 404
    assert values["http.route"].string_value == "/tasks/{task_id}"


async def test_without_an_endpoint_the_callers_trace_goes_on_as_it_is(database: str, fake: FakeAgent) -> None:
    async with serve(database) as server, open_seeder(database, server.url) as seeder:
        world = await make_world(seeder)
        agent = await world.make_agent(fake.url, "async")
        body = {"method": "task/create", "params": {}}
        await world.alice.call("POST", f"/agents/{agent.id}/rpc", json=body, headers={"traceparent": TRACEPARENT})
    (call,) = fake.calls
    assert call.headers["traceparent"] == TRACEPARENT


async def test_a_collector_that_is_away_costs_no_request(database: str, fake: FakeAgent) -> None:
    async with (
        serve(database, otlp_endpoint=f"http://127.0.0.1:{free_port()}") as server,
        open_seeder(database, server.url) as seeder,
    ):
        world = await make_world(seeder)
        agent = await world.make_agent(fake.url)
        assert (await world.alice.make_task(agent))["status"] == "RUNNING"
