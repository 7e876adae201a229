"""The application that `remit auth serve` serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from remit import health
from remit.app import add_error_handlers
from remit.audit import AuditTrail
from remit.authz.load import load_engine
from remit.background import keep_running
from remit.db.pool import Database
from remit.provider import routes
from remit.provider.caller import CallerSecret
from remit.settings import Settings
from remit.telemetry.middleware import RequestContext
from remit.telemetry.tracing import Tracing
from remit.version import __version__

ROUTERS = (health.router, routes.router)


def create_provider_app(settings: Settings, dsn: str) -> FastAPI:
    """The provider.

    Args:
        settings: the process's settings; `secret_key` must be set.
        dsn: where the database is.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.database = database = await Database.open(dsn, size=settings.pool_size, timeout=settings.pool_timeout)
        async with database.connection() as connection:
            app.state.engine = await load_engine(connection, settings)
        app.state.audit = audit = AuditTrail(database)
        loop = asyncio.create_task(keep_running("audit trail", audit.run))
        try:
            yield
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
            await app.state.tracing.aclose()
            await database.close()

    app = FastAPI(
        title="Remit auth provider",
        version=__version__,
        description="Who calls, and what they may: answers for servers that keep their own rows.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.tracing = Tracing.open(settings)
    for router in ROUTERS:
        app.include_router(router)
    add_error_handlers(app)
    app.add_middleware(RequestContext, max_body_bytes=settings.max_body_bytes, elsewhere_seconds=settings.authz_timeout)
    secret = settings.auth_caller_secret
    app.add_middleware(CallerSecret, secret=secret.get_secret_value() if secret else None)
    return app
