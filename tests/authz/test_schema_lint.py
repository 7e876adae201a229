"""The schema lint finds each kind of doubt at its place, and nothing in the shipped schema."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from remit.authz.schema import parse_schema
from remit.authz.schema_check import check_schema
from remit.authz.schema_lint import lint_schema

HEAD = "definition user {}\ndefinition bot {}\n"
# Each with the rule, the line and the column that must be found, and the words that say why.
DOUBTS = [
    (
        (
            "definition org { relation admin: user\n permission manage = admin; }\n"
            "definition doc {\n relation parent: org | user\n permission edit = parent->admin\n}"
        ),
        ("mixed-arrow", 7, 20),
        "can hold user, which has no 'admin': such a subject grants nothing",
    ),
    (
        (
            "definition org { relation admin: user\n permission manage = admin; }\n"
            "definition doc {\n relation parent: org | user\n permission edit = parent.all(manage)\n}"
        ),
        ("mixed-arrow", 7, 20),
        "makes the whole arrow fail",
    ),
    (
        "definition doc {\n relation owner: user\n relation lost: user\n permission edit = owner\n}",
        ("unreachable-relation", 5, 11),
        "doc#lost",
    ),
    (
        "definition group {\n relation member: group#member\n permission see = member\n}",
        ("never-held", 4, 11),
        "group#member has no member that is not a set itself",
    ),
    (
        "definition doc {\n relation owner: user\n relation helper: bot\n permission edit = owner & helper\n}",
        ("never-held", 6, 13),
        "no kind of subject satisfies all of its parts",
    ),
    (
        "definition doc {\n relation viewer: user:*\n relation banned: user\n permission see = viewer - banned\n}",
        ("open-exclusion", 6, 19),
        "is given to user:* by 'viewer'",
    ),
    (
        "definition doc {\n relation viewer: user\n relation banned: user:*\n permission see = viewer - banned\n}",
        ("open-exclusion", 6, 28),
        "is taken from user:* by 'banned'",
    ),
    (
        (
            "definition group { relation member: user; }\n"
            "definition doc {\n relation viewer: group#member\n relation banned: user\n"
            " permission see = viewer - banned\n}"
        ),
        ("open-exclusion", 7, 19),
        "is given to group#member by 'viewer'",
    ),
    (
        (
            "definition org {\n relation member: user | org#member\n}\n"
            "definition doc {\n relation parent: org\n relation banned: user\n"
            " permission see = parent->member - banned\n}"
        ),
        ("open-exclusion", 9, 19),
        "is given to org#member by 'parent->member'",
    ),
    (
        (
            "definition org {\n relation member: user:*\n}\n"
            "definition doc {\n relation parent: org\n relation banned: user\n"
            " permission see = parent.all(member) - banned\n}"
        ),
        ("open-exclusion", 9, 19),
        "is given to user:* by 'parent.all(member)'",
    ),
]


@pytest.mark.parametrize(("text", "expected", "words"), DOUBTS)
def test_a_doubt_is_found_at_its_place(text: str, expected: tuple[str, int, int], words: str) -> None:
    findings = lint_schema(check_schema(parse_schema(HEAD + text, "mine.zed")))
    found = {(finding.rule, finding.line, finding.column): finding for finding in findings}
    assert expected in found, found.keys()
    finding = found[expected]
    assert words in finding.message
    shown, caret = finding.text.split("\n")[1:3]
    assert finding.text.startswith(f"mine.zed:{expected[1]}:{expected[2]}: [{expected[0]}]")
    assert shown.strip() == (HEAD + text).split("\n")[expected[1] - 1].strip()
    assert caret.index("^") == expected[2] + 1
    assert finding.suggestion in finding.text


def test_a_reason_silences_one_rule() -> None:
    text = (
        HEAD + "definition doc {\n relation owner: user\n {comment}\n relation lost: user\n permission edit = owner\n}"
    )
    for comment, reason in (
        ("// lint: unreachable-relation because a peer reads it", "a peer reads it"),
        ("// lint: never-held because of nothing", None),
        ("// lint: unreachable-relation", None),
    ):
        findings = lint_schema(check_schema(parse_schema(text.replace("{comment}", comment))))
        assert [finding.reason for finding in findings] == [reason]


def test_the_shipped_schema_is_clean() -> None:
    source = files("remit.authz").joinpath("schema.zed").read_text("utf-8")
    assert [finding.text for finding in lint_schema(check_schema(parse_schema(source))) if not finding.reason] == []


def test_the_command_says_it_by_its_exit_code(tmp_path: Path) -> None:
    clean, doubtful, broken = tmp_path / "clean.zed", tmp_path / "doubtful.zed", tmp_path / "broken.zed"
    clean.write_text(HEAD + "definition doc { relation owner: user\n permission edit = owner; }")
    doubtful.write_text(HEAD + DOUBTS[2][0])
    broken.write_text("definition doc { relation owner: }")
    for file, code in ((clean, 0), (doubtful, 1), (broken, 2)):
        command = [sys.executable, "-m", "remit", "authz", "schema", "lint", str(file), "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == code, ran.stderr
        if code == 1:
            (finding,) = json.loads(ran.stdout)["findings"]
            assert (finding["rule"], finding["line"], finding["column"]) == ("unreachable-relation", 5, 11)
        if code == 2:
            assert "broken.zed:1:" in ran.stderr
