"""`docs/differences.md` names tests that are there, and says so where there is none."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "differences.md"


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
    named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown_by)
    if named is None:
        assert shown_by == ""
        assert ours.startswith("**Out of scope**: "), "a row without a test says why"
        return
    assert (ROOT / named[1]).is_file(), shown_by
    assert named[2] in read_tests(ROOT / named[1]), shown_by


def test_there_are_rows_of_every_part() -> None:
    assert len(read_rows()) > 55
    assert sum("**Out of scope**" in ours for _, ours, _ in read_rows()) == 2
