"""A real database for every test that asks for one: a copy of a template that the migrations made."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from support.agent import FakeAgent
from support.databases import FAST, make_data_dir, make_database, run_server
from support.graph import Seeder, World, make_world
from support.whole_run import watch

from remit.db.binaries import Binaries
from remit.db.embedded import EmbeddedPostgres
from remit.migrations.run import upgrade

# Another PostgreSQL for the whole run: the folder that has its `bin`.
_BINARIES = os.environ.get("REMIT_TEST_POSTGRES")
# Hundreds of processes are started; none of them is to compile the code again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Where the tests are that take longest each; the last files to run are short ones, so that all workers end together.
_LONGEST = ("cli", "story", "rehearse", "db", "provider", "migrations", "authz")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No workers for tests that are named by their file or by `-k`: those start sooner in one process."""
    narrow = all(".py" in name for name in config.args) or config.option.keyword or config.option.capture == "no"
    return 0 if narrow else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files in the order in which workers take them."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.path.relative_to(Path(__file__).parent).parts))


def _rank(parts: Sequence[str]) -> int:
    return _LONGEST.index(parts[0]) if parts[0] in _LONGEST else len(_LONGEST)


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


@pytest.fixture(scope="session")
def _upgraded() -> Iterator[Path]:
    with make_data_dir() as folder:
        server = EmbeddedPostgres.start_blocking(folder, options=FAST)
        upgrade(server.dsn)
        server.stop_blocking()
        yield folder


@pytest.fixture
def upgraded_data_dir(_upgraded: Path, data_dir: Path) -> Path:
    """A data directory with a migrated database in it, which nobody uses yet."""
    subprocess.run(["cp", "-a", f"{_upgraded}/.", data_dir], check=True)
    return data_dir


@pytest.fixture
async def world(seed: Seeder) -> World:
    """A world of the test's own on the servers of `seed`, which each folder or file has its own of."""
    return await make_world(seed)


@pytest.fixture
async def fake() -> AsyncIterator[FakeAgent]:
    """An agent process that the test directs."""
    async with FakeAgent() as agent:
        yield agent
