"""The HTTP API on the real thing: servers that most tests share, each with tenants of its own, and a fake agent.

Two server processes are behind what tests share: this one, in a thread, and one more. Consecutive requests of a client
go to one and the other, so that whatever a process keeps for itself shows.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from support.databases import make_database
from support.graph import Seeder, World, make_world, open_seeder
from support.processes import ServerProcess, run_remit
from support.server import Server, serve, serve_in_thread

from remit.db.embedded import EmbeddedPostgres


@pytest.fixture(scope="session", autouse=True)
def _plain_log() -> None:
    """Log lines that are cheap to write; structlog's own default renders every local variable of a traceback."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ]
    )


SETTINGS: dict[str, Any] = {
    "stream_ping": 0.2,
    "turn_lease": 120,
    "turn_wait": 20,
    "secret_key": "k" * 40,
    "public_url": "https://remit.example",
}


@pytest.fixture(scope="session")
def server(postgres: EmbeddedPostgres, template: str) -> Iterator[Server]:
    """A server that tests share; it runs in a thread."""
    with make_database(postgres, template) as dsn, serve_in_thread(dsn, **SETTINGS) as running:
        yield running


@pytest.fixture(scope="session")
def second_server(server: Server) -> Iterator[ServerProcess]:
    """Another process over the shared server's database."""
    settings: Any = {f"REMIT_{name.upper()}": str(value) for name, value in SETTINGS.items()}
    with run_remit(None, REMIT_DATABASE_URL=server.dsn, REMIT_EMBEDDED_WORKER="false", **settings) as running:
        yield running


@pytest.fixture
async def seed(server: Server, second_server: ServerProcess) -> AsyncIterator[Seeder]:
    """The shared servers' database and a client for both."""
    async with open_seeder(server.dsn, server.url, others=[second_server.url]) as seeder:
        yield seeder


@pytest.fixture
async def own_server(database: str) -> AsyncIterator[Server]:
    """A server of the test's own, in its event loop."""
    async with serve(database, stream_ping=0.2) as running:
        yield running


@pytest.fixture
async def own_world(own_server: Server) -> AsyncIterator[World]:
    """A world on the test's own server."""
    async with open_seeder(own_server.dsn, own_server.url) as seeder:
        yield await make_world(seeder)
