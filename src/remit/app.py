"""The composition root: what an application is made of, what runs beside it, and which errors it tells how."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import State
from starlette.exceptions import HTTPException

from remit import access, archive, checkpoints, events, health, spans, states, trackers, unbuilt, why
from remit.agent_api_keys import routes as agent_api_keys
from remit.agents import routes as agents
from remit.audit import AuditTrail
from remit.authz.decide import Decider
from remit.authz.elsewhere import Elsewhere
from remit.authz.engine import Engine
from remit.authz.errors import AuthzError, PermissionUnknown
from remit.authz.http_contract import plain_principal
from remit.authz.load import load_engine, make_deliverer, open_remote
from remit.authz.measure import Measures
from remit.authz.model import Subject
from remit.authz.modes import ModeBook
from remit.authz.remote_watch import RemoteWatch
from remit.authz.route import DECLARATION
from remit.authz.schema_watch import SchemaWatch
from remit.authz.shadow import Shadow
from remit.authz.subject_names import SubjectNames
from remit.background import Background, keep_running
from remit.db.params import Params
from remit.db.pool import UNREACHABLE, Database
from remit.description import describe_problems
from remit.errors import AuthorizationUnavailable, BadRequest, Invalid, NotFound, Refused, RemitError, Unavailable
from remit.identity import me
from remit.identity.bearer_tokens import TokenVerifier
from remit.identity.encryption import SecretBox
from remit.identity.presumed import PresumedKeys
from remit.identity.provider_authentication import ProviderAuthentication
from remit.identity.provider_principals import ProviderPrincipals
from remit.ids import NIL_ID
from remit.limits import Limits
from remit.messages import routes as messages
from remit.rpc import forward
from remit.rpc import routes as rpc
from remit.rpc.client import AgentClient
from remit.settings import Settings
from remit.snapshots import Snapshots
from remit.streams.hub import StreamHub
from remit.tasks import routes as tasks
from remit.telemetry.middleware import RequestContext
from remit.telemetry.tracing import Tracing
from remit.validation import describe_errors
from remit.version import __version__

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

log = structlog.get_logger(__name__)

# Routes are looked through in this order: first what is asked most. Of two that match one path the first is taken, so
# that a name has to stand before a parameter in its place.
ROUTERS = (
    rpc.router,
    messages.router,
    tasks.router,
    health.router,
    me.router,
    access.router,
    forward.router,
    agents.router,
    states.router,
    events.router,
    trackers.router,
    spans.router,
    checkpoints.router,
    archive.router,
    agent_api_keys.router,
    why.router,
    unbuilt.router,
)

SHUTDOWN_SECONDS = 5

# Spans and metrics are Remit's own (`telemetry/`); FastAPI's look in each request whether anybody wants them.
NO_TELEMETRY: "TelemetryConfig" = {"tracing": False, "metrics": False, "logs": False}


def create_app(settings: Settings, dsn: str) -> FastAPI:
    """The application.

    Args:
        settings: the process's settings.
        dsn: where the database is.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.database = database = await Database.open(dsn, size=settings.pool_size, timeout=settings.pool_timeout)
        async with database.connection() as connection:
            engine = await load_engine(connection, settings)
            modes = ModeBook(engine.mode_policy, database)
            await modes.refresh(connection)
        app.state.engine = engine
        app.state.schema = schema = SchemaWatch(engine, database, check_schema_answers)
        kept = ProviderPrincipals(database, SecretBox(settings)) if settings.authz_engine == "http" else None
        app.state.remote = remote = await open_remote(settings, engine, kept.find if kept else plain_principal)
        app.state.delivery = make_deliverer(settings, database, engine, remote)
        names = SubjectNames(settings.authz_subject_ids)
        asks = remote is not None and settings.authz_answers == "engine"
        elsewhere = Elsewhere(remote, names, settings.authz_timeout) if remote is not None and asks else None
        app.state.remote_watch = remote_watch = RemoteWatch(engine, remote, asked_permissions) if remote else None
        shadow = Shadow(database, engine, elsewhere)
        app.state.decider = Decider(engine, modes, elsewhere, shadow)
        app.state.agents = AgentClient(settings, app.state.tracing)
        app.state.snapshots = Snapshots(settings)
        identity_http = httpx.AsyncClient(trust_env=False, follow_redirects=False)
        app.state.tokens = TokenVerifier.open(settings.identity_providers, identity_http)
        app.state.authn = (
            ProviderAuthentication(settings, identity_http, database, engine, kept) if kept is not None else None
        )
        app.state.presumed_keys = PresumedKeys()
        app.state.background = Background()
        app.state.limits = Limits(settings.rate_limit, settings.streams_per_principal)
        app.state.hub = hub = StreamHub(
            database, dsn, settings.redis_url.get_secret_value() if settings.redis_url else None
        )
        app.state.audit = audit = AuditTrail(database)
        measures = Measures(database)
        works = [audit.run, hub.run_publisher, hub.run_listener, modes.run, schema.run, shadow.run, measures.run_drift]
        if remote_watch is not None:
            await remote_watch.prepare()
        works += _optional_works(hub, remote_watch, measures)
        loops = [asyncio.create_task(keep_running(work.__qualname__, work)) for work in works]
        try:
            yield
        finally:
            await _close(app.state, loops, identity_http)

    app = FastAPI(
        title="Remit",
        version=__version__,
        description="A control plane for AI-agent tasks in which every task has an owner.",
        lifespan=lifespan,
        docs_url="/swagger",
        redoc_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.state.tracing = Tracing.open(settings)
    add_routes(app, ROUTERS)
    add_error_handlers(app)
    _describe(app)
    app.add_middleware(RequestContext, max_body_bytes=settings.max_body_bytes, elsewhere_seconds=settings.authz_timeout)
    return app


def add_routes(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Have an application answer the routes of some routers.

    In one flat list: a router that is included is gone through twice for each request.
    """
    app.router.routes.extend(route for router in routers for route in router.routes)


async def _close(state: State, loops: Sequence[asyncio.Task[None]], identity_http: httpx.AsyncClient) -> None:
    await state.background.drain(SHUTDOWN_SECONDS)
    for loop in loops:
        loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*loops, return_exceptions=True)
    if state.hub.redis is not None:
        await state.hub.redis.aclose()
    for part in (state.agents, state.snapshots, identity_http, state.tracing):
        await part.aclose()
    if state.delivery is not None:
        await state.delivery.aclose()
    await state.database.close()


def _optional_works(
    hub: StreamHub, remote_watch: RemoteWatch | None, measures: Measures
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    works = [hub.redis.run_reader, hub.redis.run_writer] if hub.redis is not None else []
    return works if remote_watch is None else [*works, remote_watch.run, measures.run_outbox]


def asked_permissions() -> set[str]:
    """Every question that a route declares, as `type.permission`, and those that creating asks of the tenant."""
    declared = [(getattr(route, "openapi_extra", None) or {}).get(DECLARATION) for r in ROUTERS for route in r.routes]
    return {question for one in declared if one for question in one["asks"]} | {
        "tenant.create_task",
        "tenant.create_agent",
    }


def check_schema_answers(engine: Engine) -> None:
    """Do nothing if the loaded schema has every operation that a route asks.

    Raises:
        PermissionUnknown: it lacks some, each named in the message.
    """
    missing = []
    for question in sorted(asked_permissions()):
        resource_type, _, permission = question.partition(".")
        try:
            engine.check_sql(Params(), Subject("user", NIL_ID), permission, resource_type, "NULL::uuid")
        except PermissionUnknown:
            missing.append(question)
    if missing:
        raise PermissionUnknown(f"routes ask for what the schema lacks: {', '.join(missing)}; add it and apply again")


def _respond(request: Request, error: RemitError) -> Response:
    return JSONResponse(
        error.body(getattr(request.state, "request_id", None)),
        error.status,
        error.headers(),
        media_type="application/problem+json",
    )


def _describe(app: FastAPI) -> None:
    make = app.openapi

    def make_once() -> dict[str, Any]:
        if app.openapi_schema is None:
            describe_problems(make())
        return make()

    app.openapi = make_once  # type: ignore[method-assign]  # FastAPI documents this assignment as the way to change the description


def add_error_handlers(app: FastAPI) -> None:
    """Tell each kind of error in the words of `errors.py`."""

    @app.exception_handler(RemitError)
    async def tell(request: Request, error: RemitError) -> Response:
        if error.status >= 500:
            log.warning("request failed", cause=repr(error.__cause__ or error))
        return _respond(request, error)

    @app.exception_handler(Refused)
    async def tell_refused(request: Request, refused: Refused) -> Response:
        return _respond(request, refused.error)

    @app.exception_handler(RequestValidationError)
    async def tell_invalid(request: Request, error: RequestValidationError) -> Response:
        return _respond(request, Invalid(describe_errors(error.errors())))

    @app.exception_handler(HTTPException)
    async def tell_http(request: Request, error: HTTPException) -> Response:
        told: RemitError = NotFound("There is no such route.") if error.status_code == 404 else BadRequest(error.detail)
        if error.status_code not in (400, 404):
            told.status = error.status_code
        response = _respond(request, told)
        response.headers.update(error.headers or {})
        return response

    async def tell_unavailable(request: Request, error: Exception) -> Response:
        log.warning("the database failed a request", cause=repr(error))
        return _respond(request, Unavailable("The database cannot be reached; try again."))

    for kind in (*UNREACHABLE, asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError):
        app.add_exception_handler(kind, tell_unavailable)

    @app.exception_handler(AuthzError)
    async def tell_authz(request: Request, error: AuthzError) -> Response:
        # The engine could not answer, and what is not answered is not allowed.
        log.error("the authorization engine failed", cause=repr(error))
        return _respond(request, AuthorizationUnavailable("Authorization could not be decided; nothing was done."))
