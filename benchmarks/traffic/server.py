"""One server process: Remit, and beside it under `/bare` what its figures are measured against.

Both answer from the same event loop of the same uvicorn, with the options of `remit serve`, so that a ratio of the two
says what Remit adds to a route.
"""

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvloop
from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from remit.app import create_app
from remit.cli.serving import listen, serve_until_stopped
from remit.settings import Settings
from remit.telemetry.logging import configure_logging


class Calls:
    """Counts the functions that the event loop's thread calls, between two switches."""

    def __init__(self) -> None:
        self._counting = False
        self._count = 0

    def switch(self) -> int:
        """Begin to count; or end it, and say how many there were."""
        counted, self._count = self._count, 0
        self._counting = not self._counting
        sys.setprofile(self._note if self._counting else None)
        return counted

    def _note(self, _: object, event: str, __: object) -> None:
        if event in ("call", "c_call"):
            self._count += 1


def make_bare(agent_url: str) -> FastAPI:
    """A route that does nothing, one that forwards its body to an agent, and one that counts calls."""
    calls = Calls()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=agent_url, trust_env=False) as client:
            app.state.client = client
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.get("/bare")
    async def say() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/bare/count")
    async def count() -> int:
        return calls.switch()

    @app.post("/bare/forward")
    async def forward(request: Request, body: dict[str, Any]) -> Any:
        return (await request.app.state.client.post("/api", json=body)).json()

    return app


class Both:
    """Remit, but for the paths under `/bare`."""

    def __init__(self, remit: ASGIApp, bare: FastAPI) -> None:
        self._remit, self._bare = remit, bare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the ASGI specification."""
        if scope["type"] == "http":
            await (self._bare if scope["path"].startswith("/bare") else self._remit)(scope, receive, send)
            return
        async with self._bare.router.lifespan_context(self._bare):
            await self._remit(scope, receive, send)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--agent", required=True)
    options = parser.parse_args()
    settings = Settings()
    configure_logging(settings.log_format, settings.log_level)
    app = Both(create_app(settings, options.dsn), make_bare(options.agent))
    with listen("127.0.0.1", options.port) as listener:
        uvloop.run(serve_until_stopped(app, listener))


if __name__ == "__main__":
    main()
