"""`remit authz validate` on both engines, over SpiceDB's own files; each must be able to fail."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "conformance"
FILES = sorted(map(str, FOLDER.glob("*.yaml")))
WRONG = (
    "schema: |-\n  definition user {}\n  definition document {\n    relation owner: user\n"
    "    permission read = owner\n  }\n"
    "relationships: |-\n  document:plan#owner@user:alice\n"
    "assertions:\n  assertTrue: ['document:plan#read@user:robert']\n"
)


def validate(engine: str, *files: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "remit", "authz", "validate", *files, "--engine", engine, "--format", "json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("engine", ["embedded", "spicedb"])
def test_every_file_passes_on_both_engines_and_a_wrong_one_does_not(engine: str, tmp_path: Path) -> None:
    assert len(FILES) >= 20
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WRONG)
    ran = validate(engine, *FILES, str(wrong))
    assert ran.returncode == 1, ran.stderr
    said: dict[str, list[dict[str, Any]]] = json.loads(ran.stdout)
    assert said.keys() == {"files"}
    assert [result["file"] for result in said["files"]] == [*FILES, str(wrong)]
    for result in said["files"]:
        assert result.keys() == {"file", "passed", "failures", "unsupported"}
        assert result["passed"] is (result["file"] != str(wrong)), result
    assert said["files"][-1]["failures"] == ["document:plan#read@user:robert is denied, and must not be"]


def test_an_absent_spicedb_is_told_with_what_to_do(tmp_path: Path) -> None:
    ran = validate("spicedb", FILES[0], SPICEDB_LIBRARY_PATH=str(tmp_path / "none.so"))
    assert ran.returncode == 2
    assert "scripts/get-spicedb" in ran.stderr
