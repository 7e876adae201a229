"""The commands of the operators' pages run as they stand."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.databases import make_data_dir
from support.processes import clean_environment

from remit.db.embedded import EmbeddedPostgres

PAGES = Path(__file__).parents[2] / "docs" / "operations"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with make_data_dir() as folder:
        server = EmbeddedPostgres.start_blocking(folder)
        try:
            run(folder, "remit db upgrade")
            yield folder
        finally:
            server.stop_blocking()


def run(data_dir: Path, command: str) -> str:
    program, *arguments = command.split()
    assert program == "remit", f"{command}: not a command of ours"
    ran = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        env=clean_environment(REMIT_DATA_DIR=str(data_dir)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def commands_of(page: str) -> list[str]:
    text = (PAGES / page).read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_a_tenant_is_adopted_and_given_back(data_dir: Path) -> None:
    commands = commands_of("adopt.md")
    assert len(commands) >= 10
    told = {}
    for command in commands:
        told[command] = run(data_dir, command)
        if command.startswith("remit tenants add"):
            # What the tenant has when it comes: an agent that is not registered.
            run(data_dir, "remit agents enroll echo --tenant acme")
    assert "1 of 1 repaired" in told["remit authz backfill --tenant acme"]
    assert "clean" in told["remit authz reconcile --tenant acme"]
    assert run(data_dir, "remit authz list agent:echo --tenant acme").count("tenant") >= 2
