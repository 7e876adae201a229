"""A real database for every test that asks for one: a copy of a template that the migrations made."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.databases import make_data_dir, make_database, run_server
from support.whole_run import watch

from remit.db.binaries import Binaries
from remit.db.embedded import EmbeddedPostgres
from remit.migrations.run import upgrade

# Another PostgreSQL for the whole run: the folder that has its `bin`.
_BINARIES = os.environ.get("REMIT_TEST_POSTGRES")


def pytest_configure(config: pytest.Config) -> None:
    """Hold a whole run to the page of differences."""
    watch(config)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The server of this run; tests use `database`."""
    with run_server(Binaries(Path(_BINARIES)) if _BINARIES else None) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a database made by the migrations, to copy."""
    name = "remit_template"
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    upgrade(postgres.dsn.replace("@/remit?", f"@/{name}?"))
    return name


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The connection URL of a fresh, migrated database."""
    with make_database(postgres, template) as dsn:
        yield dsn


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The connection URL of a database without any table."""
    with make_database(postgres) as dsn:
        yield dsn


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """An empty data directory for an embedded server of the test's own."""
    with make_data_dir() as folder:
        yield folder
