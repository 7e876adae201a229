"""The application that `remit auth serve` serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from remit import health
from remit.app import NO_TELEMETRY, add_error_handlers, add_routes
from remit.audit import AuditTrail
from remit.authz.decide import Decider
from remit.authz.load import load_engine, make_deliverer
from remit.authz.modes import ModeBook
from remit.authz.schema_watch import SchemaWatch
from remit.background import keep_running
from remit.db.pool import Database
from remit.identity.bearer_tokens import TokenVerifier
from remit.identity.presumed import PresumedKeys
from remit.limits import Limits
from remit.provider import flag_routes, routes
from remit.provider.caller import CallerSecret
from remit.provider.elsewhere import open_remotes
from remit.provider.flags import default_flags
from remit.provider.principals import derive_key
from remit.provider.standing import Provider
from remit.settings import Settings
from remit.telemetry.middleware import RequestContext
from remit.telemetry.tracing import Tracing
from remit.version import __version__

ROUTERS = (health.router, routes.router, flag_routes.router)


def create_provider_app(settings: Settings, dsn: str) -> FastAPI:
    """The provider.

    Args:
        settings: the process's settings; `secret_key` must be set.
        dsn: where the database is.
    """
    secret = settings.secret_key
    if secret is None:
        raise ValueError("the provider signs what it hands out, and REMIT_SECRET_KEY is not set")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.database = database = await Database.open(dsn, size=settings.pool_size, timeout=settings.pool_timeout)
        async with database.connection() as connection:
            # Which resources an engine elsewhere is told of is for the accounts' flags to say, not for the engine.
            engine = await load_engine(connection, settings.model_copy(update={"authz_engine": "embedded"}))
            modes = ModeBook(engine.mode_policy, database)
            await modes.refresh(connection)
        app.state.decider = Decider(engine, modes)
        app.state.audit = audit = AuditTrail(database)
        app.state.schema = schema = SchemaWatch(engine, database)
        app.state.engine = engine
        app.state.delivery = None
        app.state.authn = None
        app.state.presumed_keys = PresumedKeys()
        identity_http = httpx.AsyncClient(trust_env=False, follow_redirects=False)
        app.state.tokens = TokenVerifier.open(settings.identity_providers, identity_http)
        app.state.limits = Limits(settings.rate_limit, settings.streams_per_principal)
        remotes = await open_remotes(settings, engine)
        app.state.provider = Provider(
            settings,
            database,
            engine,
            audit,
            derive_key(secret.get_secret_value()),
            remotes,
            make_deliverer(settings, database, engine, remotes.get("spicedb")),
            default_flags(remotes),
        )
        works = (audit.run, modes.run, schema.run)
        loops = [asyncio.create_task(keep_running(work.__qualname__, work)) for work in works]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            for remote in remotes.values():
                await remote.aclose()
            await identity_http.aclose()
            await app.state.tracing.aclose()
            await database.close()

    app = FastAPI(
        title="Remit auth provider",
        version=__version__,
        description="Who calls, and what they may: answers for servers that keep their own rows.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.state.tracing = Tracing.open(settings)
    add_routes(app, ROUTERS)
    add_error_handlers(app)
    app.add_middleware(RequestContext, max_body_bytes=settings.max_body_bytes, elsewhere_seconds=settings.authz_timeout)
    caller = settings.auth_caller_secret
    app.add_middleware(CallerSecret, secret=caller.get_secret_value() if caller else None)
    return app
