"""Whether the server lives, whether it is ready, and its metrics."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from remit.authz.route import GuardedRoute, unguarded
from remit.db.pool import UNREACHABLE
from remit.errors import Unavailable
from remit.migrations.compatibility import COMPATIBLE_SINCE, find_problem
from remit.migrations.state import known_revisions

router = APIRouter(tags=["health"], route_class=GuardedRoute)

READY_SECONDS = 3


@router.get("/healthz", openapi_extra=unguarded("it says only that the process answers"))
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", openapi_extra=unguarded("it says which parts work, nothing of what they hold"))
@router.get("/healthcheck", include_in_schema=False, openapi_extra=unguarded("the contract's other name of readyz"))
async def readyz(request: Request) -> Response:
    """The database answers, is migrated, and its schema and an engine elsewhere answer what routes ask."""
    checks: dict[str, Any] = {"database": "ok", "migrations": "ok", "schema": "ok"}
    status = "ok"
    if request.app.state.schema.problem is not None:
        status, checks["schema"] = "degraded", request.app.state.schema.problem
    watch = getattr(request.app.state, "remote_watch", None)
    if watch is not None:
        checks["engine"] = "ok"
        if watch.problem is not None:
            status, checks["engine"] = "degraded", watch.problem
    try:
        async with asyncio.timeout(READY_SECONDS), request.app.state.database.connection() as connection:
            at = await connection.fetchval("SELECT version_num FROM alembic_version")
            since = None if at in known_revisions() else await connection.fetchval(COMPATIBLE_SINCE)
        problem = find_problem(known_revisions(), at, since)
        if problem is not None:
            status, checks["migrations"] = "degraded", problem
    except TimeoutError:
        status, checks["database"] = "timeout", "does not answer in time"
    except (Unavailable, *UNREACHABLE):
        status, checks["database"] = "error", "cannot be reached"
    return JSONResponse({"status": status, "checks": checks}, 200 if status == "ok" else 503)


@router.get("/metrics", response_class=PlainTextResponse, openapi_extra=unguarded("counters without ids"))
async def metrics() -> Response:
    """Counters, for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
