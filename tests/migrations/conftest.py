"""Both ends of the range of supported servers: the shipped one, and the oldest, from Debian's package."""

from collections.abc import Iterator

import pytest
from support.databases import OLDEST, make_database, run_server

from remit.db.embedded import EmbeddedPostgres


@pytest.fixture(scope="session", params=["shipped", "oldest"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """A server of each version."""
    binaries = OLDEST if request.param == "oldest" else None
    if binaries and not (binaries.root / "bin" / "postgres").exists():
        pytest.fail(f"these tests need PostgreSQL 15 in {binaries.root}: apt-get install postgresql-15")
    with run_server(binaries) as started:
        yield started


@pytest.fixture
def empty(server: EmbeddedPostgres) -> Iterator[str]:
    """The connection URL of an empty database on each server."""
    with make_database(server) as dsn:
        yield dsn
