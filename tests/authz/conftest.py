"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from servers import running_server


@pytest.fixture(scope="session")
def database_directory() -> Iterator[Path]:
    """A server with all tables; the directory is where its socket is."""
    with running_server() as directory:
        yield directory


@pytest.fixture
async def connection(database_directory: Path) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection whose work is undone after the test."""
    connection = await asyncpg.connect(host=str(database_directory), user="postgres", database="postgres")
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()
