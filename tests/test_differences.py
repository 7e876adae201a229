"""`docs/differences.md` names tests that are there and that a whole run has run, and says so where there is none."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.whole_run import NAMED

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "differences.md"
NAMED_BY = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def read_rows() -> list[tuple[str, str, str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [(a, b, c) for a, b, c in rows if c != "shown by" and not c.startswith("---")]


def read_tests(file: Path) -> set[str]:
    """The names of the test functions that a module has; how pytest would collect them."""
    body = ast.parse(file.read_text()).body
    return {
        node.name
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize(("theirs", "ours", "shown_by"), read_rows())
def test_a_difference_is_shown_by_a_test_that_is_there(theirs: str, ours: str, shown_by: str) -> None:
    assert theirs
    assert ours
    named = NAMED_BY.fullmatch(shown_by)
    if named is None:
        assert shown_by == ""
        assert ours.startswith("**Out of scope**: "), "a row without a test says why"
        return
    assert (ROOT / named[1]).is_file(), shown_by
    assert named[2] in read_tests(ROOT / named[1]), shown_by


def test_there_are_rows_of_every_part() -> None:
    assert len(read_rows()) > 55
    assert {f"{named[1]}::{named[2]}" for row in read_rows() if (named := NAMED_BY.fullmatch(row[2]))} == set(
        NAMED.findall(PAGE.read_text())
    ), "what a whole run is held to is what the rows name"
    assert sum("**Out of scope**" in ours for _, ours, _ in read_rows()) == 2


def run_project(folder: Path, *arguments: str) -> tuple[int, str]:
    """A run of the project in a folder, with its exit code and what it says."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    return ran.returncode, ran.stdout + ran.stderr


def test_a_whole_run_fails_where_a_named_test_did_not_run(tmp_path: Path) -> None:
    """A small project whose page names two tests, one of which is left out by a mark and not by the run."""
    page = (
        "| theirs | ours | `tests/test_one.py::test_runs` |\n| theirs | ours | `tests/test_one.py::test_left_out` |\n"
    )
    (tmp_path / "page.md").write_text(page)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    (tmp_path / "conftest.py").write_text(
        f"import sys\nfrom pathlib import Path\nsys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from support.whole_run import watch\n"
        "def pytest_configure(config):\n    watch(config, Path(__file__).parent / 'page.md')\n"
    )
    (tmp_path / "tests").mkdir()
    tests = tmp_path / "tests" / "test_one.py"
    runs = "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_runs(n): pass\n"
    tests.write_text(runs + "@pytest.mark.skip\ndef test_left_out(): pass\n")
    code, said = run_project(tmp_path)
    assert code == 1, said
    assert "2 tests are named, and these did not run and pass: tests/test_one.py::test_left_out" in said
    for partial in (("tests/test_one.py",), ("-k", "runs")):
        code, said = run_project(tmp_path, *partial)
        assert (code, "are named" in said) == (0, False), said
    tests.write_text(runs + "def test_left_out(): pass\n")
    code, said = run_project(tmp_path)
    assert (code, "all of them ran" in said) == (0, True), said
