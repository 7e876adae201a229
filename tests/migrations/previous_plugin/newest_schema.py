"""In a run of an older commit's tests: its databases are made by the revisions of the newer code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from remit.migrations import run

SOURCE = os.environ["REMIT_NEW_SOURCE"]
MIGRATE = "import sys; from remit.migrations.run import upgrade; upgrade(sys.argv[1])"
migrated: list[str] = []


def upgrade(dsn: str, *_: Any, **__: Any) -> None:
    """Stands in the place of the older code's own."""
    environment = os.environ | {"PYTHONPATH": SOURCE}
    subprocess.run([sys.executable, "-c", MIGRATE, dsn], env=environment, check=True)
    with psycopg.connect(dsn) as connection:
        migrated.extend(str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version"))


if Path(run.__file__).is_relative_to(SOURCE):
    raise pytest.UsageError("the code under test is the newer one: nothing would be shown")
run.upgrade = upgrade  # type: ignore[assignment]  # before any conftest has imported it


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tests that never used such a database show nothing."""
    if not migrated or migrated[0] == run.history()[-1].id:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stderr.write(f"no database was ahead of the code under test: {migrated}\n")
