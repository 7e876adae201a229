"""Revisions in many styles are judged as people who know PostgreSQL judge them."""

import tomllib

import pytest
from lint.conftest import HERE, MakeProject, write_revision

from remit.migrations.lint.project import load_project
from remit.migrations.lint.run import lint

CASES = tomllib.loads((HERE / "odd_revisions.toml").read_text())


@pytest.mark.parametrize("name", CASES)
def test_odd_revision(make_project: MakeProject, name: str) -> None:
    case, down = CASES[name], "0001"
    config = make_project()
    if "before" in case:
        write_revision(config.parent, case["before"])
        down = "0002"
    if "app" in case:
        (config.parent / case.get("app_name", "app.py")).write_text(case["app"])
    write_revision(config.parent, case["up"], "0009", down)
    findings = lint(load_project(config, f"{down}:head")).findings
    found = {finding.rule for finding in findings if finding.level != "note"}
    finds, one_of, may = (set(case.get(key, ())) for key in ("finds", "one_of", "may"))
    assert finds <= found, found
    assert not one_of or one_of & found, found
    assert found <= finds | one_of | may, [item.message for item in findings if item.rule in found]
