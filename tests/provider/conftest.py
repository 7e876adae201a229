"""One `remit auth serve` that most tests share, each with accounts of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from support.databases import make_database
from support.graph import Seeder, World, make_world, open_seeder
from support.provider import Peer, ProviderProcess, run_provider

from remit.db.embedded import EmbeddedPostgres


@pytest.fixture(scope="session", autouse=True)
def _plain_log() -> None:
    """Log lines that are cheap to write; structlog's own default renders every local variable of a traceback."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


@pytest.fixture(scope="session")
def provider(postgres: EmbeddedPostgres, template: str) -> Iterator[ProviderProcess]:
    """The process."""
    with make_database(postgres, template) as dsn, run_provider(dsn) as running:
        yield running


@pytest.fixture
async def seed(provider: ProviderProcess) -> AsyncIterator[Seeder]:
    """The provider's database."""
    async with open_seeder(provider.dsn, provider.url) as seeder:
        yield seeder


@pytest.fixture
async def world(seed: Seeder) -> World:
    """Accounts of the test's own."""
    return await make_world(seed)


@pytest.fixture
def peer(seed: Seeder) -> Peer:
    """A server that asks the provider."""
    return Peer(seed.http)
