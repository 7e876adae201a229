"""Fixtures of the engine's tests."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from support.databases import make_database

from remit.db.embedded import EmbeddedPostgres


@pytest.fixture(scope="session")
def authz_database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """One migrated database for all tests here, which undo what they do."""
    with make_database(postgres, template) as dsn:
        yield dsn


@pytest.fixture
async def connection(authz_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose work is undone after the test."""
    connection = await asyncpg.connect(authz_database)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()
