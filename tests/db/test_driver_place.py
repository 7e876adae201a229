"""A connection on which the driver has lost its place is given up, so that the next statement gets another.

The driver ends its preparing with the description of the rows and sends no Sync. Where the server's `statement_timeout`
strikes between that description and the driver's Flush, the error comes when the driver thinks it is idle; it then
waits for an end that nobody asks for, and refuses every statement ("cannot switch to state 12"). A relay between the
two makes that moment certain.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from remit.db.pool import Database

FIELDS = b"SERROR\0VERROR\0C57014\0Mcanceling statement due to statement timeout\0\0"
TIMED_OUT = b"E" + struct.pack("!i", len(FIELDS) + 4) + FIELDS


class Relay:
    """Hands on what client and server say; while `armed`, the time runs out behind each description of rows."""

    def __init__(self, server: str) -> None:
        self.armed = False
        self._server = server

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        from_server, to_server = await asyncio.open_unix_connection(self._server)

        async def ask() -> None:
            while data := await reader.read(65536):
                to_server.write(data)
            to_server.write_eof()

        asking = asyncio.create_task(ask())
        try:
            while True:
                head = await from_server.readexactly(5)
                writer.write(head + await from_server.readexactly(struct.unpack("!i", head[1:])[0] - 4))
                if self.armed and head[:1] == b"T":
                    writer.write(TIMED_OUT)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            asking.cancel()
            for end in (writer, to_server):
                end.close()


@pytest.fixture
async def relay(database: str, tmp_path: Path) -> AsyncIterator[tuple[Relay, str]]:
    folder = parse_qs(urlsplit(database).query)["host"][0]
    made = Relay(f"{folder}/.s.PGSQL.5432")
    server = await asyncio.start_unix_server(made.serve, tmp_path / ".s.PGSQL.5432")
    try:
        yield made, database.replace(folder, str(tmp_path))
    finally:
        server.close()


async def test_the_next_statement_gets_another_connection(relay: tuple[Relay, str]) -> None:
    between, dsn = relay
    database = await Database.open(dsn, size=1)
    try:
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        between.armed = True
        with pytest.raises(asyncpg.InternalClientError, match="cannot switch to state 12"):
            async with database.connection() as connection:
                await connection.fetchval("SELECT 2")
        between.armed = False
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 3") == 3
    finally:
        await database.close()
