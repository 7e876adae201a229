"""`remit demo --once`: the story passes, and each part of Remit that is broken is named by the step that needs it."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from support.databases import OLDEST, run_server
from support.processes import clean_environment

SHIPPED = files("remit.authz").joinpath("schema.zed").read_text()


def play(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "remit", "demo", "--once", *options],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def count_processes(folder: Path) -> int:
    """The processes that were started with something in a folder."""
    found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False)
    return len(found.stdout.split())


def change_schema(folder: Path, old: str, new: str) -> str:
    assert old in SHIPPED
    path = folder / "schema.zed"
    path.write_text(SHIPPED.replace(old, new))
    return str(path)


def test_story_passes_and_leaves_nothing_running(data_dir: Path) -> None:
    data_dir.chmod(0o755)  # PostgreSQL may run as another user
    played = play(TMPDIR=str(data_dir))
    assert played.returncode == 0, played.stdout + played.stderr
    assert "Every step went as it should." in played.stdout
    assert "creator_user_id is alice" in played.stdout
    assert count_processes(data_dir) == 0


def test_story_passes_on_the_oldest_postgres() -> None:
    with run_server(OLDEST) as server:
        played = play(REMIT_DATABASE_URL=server.dsn)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "Every step went as it should." in played.stdout


def test_schema_in_which_a_viewer_may_cancel(tmp_path: Path, empty_database: str) -> None:
    schema = change_schema(
        tmp_path,
        "permission cancel = (owner + parent_agent + tenant->admin)",
        "permission cancel = (viewer + owner + parent_agent + tenant->admin)",
    )
    played = play("--schema", schema, REMIT_DATABASE_URL=empty_database)
    assert played.returncode == 1
    assert "failed at the step “bob may not cancel the task”" in played.stdout


def test_schema_without_the_tenant_gate(tmp_path: Path, empty_database: str) -> None:
    schema = change_schema(tmp_path, " & internal_tenant_gate", "")
    played = play("--schema", schema, REMIT_DATABASE_URL=empty_database)
    assert played.returncode == 1
    assert "failed at the step “a leaked relationship grants nothing”" in played.stdout


def test_deletion_that_skips_deregistration(empty_database: str) -> None:
    skipping = str(Path(__file__).parent / "deregistration_skipped")
    played = play(PYTHONPATH=skipping, REMIT_DATABASE_URL=empty_database)
    assert played.returncode == 1
    assert "failed at the step “no relationship of it is left”" in played.stdout
