"""Servers and databases for tests."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from remit.db.binaries import Binaries
from remit.db.embedded import EmbeddedPostgres

OLDEST = Binaries(Path("/usr/lib/postgresql/15"))
"""The oldest supported server, from Debian's package `postgresql-15`."""

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
"""Settings of a server whose data may be lost."""


@contextmanager
def make_data_dir() -> Iterator[Path]:
    """A data directory with a path short enough for a socket, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="remit-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def run_server(binaries: Binaries | None = None) -> Iterator[EmbeddedPostgres]:
    """An embedded server for tests, which lose nothing if it crashes."""
    with make_data_dir() as folder:
        server = EmbeddedPostgres.start_blocking(folder, binaries=binaries, options=FAST)
        try:
            yield server
        finally:
            server.stop_blocking()


@contextmanager
def make_database(server: EmbeddedPostgres, template: str = "template1") -> Iterator[str]:
    """A database of its own, as a connection URL, dropped afterwards with whoever is still connected to it."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        try:
            yield server.dsn.replace("@/remit?", f"@/{name}?")
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
