"""The engine elsewhere of a site: a real SpiceDB, or `remit auth serve` with a database of its own."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from support.graph import Seeder, open_seeder
from support.provider import run_provider
from support.spicedb_host import run_spicedb

from remit.db.embedded import EmbeddedPostgres

EngineName = Literal["spicedb", "http"]
ENGINES: tuple[EngineName, ...] = ("spicedb", "http")


@dataclass(frozen=True)
class Beside:
    """What runs beside the servers.

    Attributes:
        engine: which it is.
        protocol: that it speaks, as proxies name it.
        upstream: its `host:port`.
        settings_at: what a process needs to reach it at some `host:port`.
        provider: makes accounts and roles at a provider, None for SpiceDB.
    """

    engine: EngineName
    protocol: str
    upstream: str
    settings_at: Callable[[str], dict[str, str]]
    provider: Seeder | None = None


@asynccontextmanager
async def open_beside(
    engine: EngineName, postgres: EmbeddedPostgres, template: str, logs: Path
) -> AsyncIterator[Beside]:
    """Start one, until the end of the block.

    Args:
        engine: which.
        postgres: where a provider's database is made.
        template: a migrated database to copy, to which nobody is connected.
        logs: the folder of what it prints.
    """
    if engine == "spicedb":
        with run_spicedb() as spice:
            token = {"REMIT_SPICEDB_TOKEN": spice.token, "REMIT_SPICEDB_TLS": "false"}
            yield Beside(engine, "http2", spice.endpoint, lambda address: {**token, "REMIT_SPICEDB_ENDPOINT": address})
        return
    name = template.partition("@/")[2].partition("?")[0]
    dsn = _copy(postgres, name)
    with run_provider(dsn, log=logs / "provider.log", REMIT_POOL_TIMEOUT="2") as process:
        async with open_seeder(dsn, process.url) as provider:
            upstream = process.url.removeprefix("http://")
            yield Beside(engine, "http1", upstream, lambda address: {"REMIT_AUTHZ_URL": f"http://{address}"}, provider)


def _copy(postgres: EmbeddedPostgres, template: str) -> str:
    """A copy of a database, which stays for as long as its server, on no connection that a restart could end."""
    name = f"provider_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    return postgres.dsn.replace("@/remit?", f"@/{name}?")
