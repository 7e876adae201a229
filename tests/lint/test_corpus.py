"""Every rule finds its hazards and passes their safe twins."""

from pathlib import Path

import pytest
from lint.conftest import HERE, MakeProject

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.project import load_project
from remit.migrations.lint.run import Report, lint

CORPUS = HERE / "corpus"
# Others' tests, or trivial.
NOT_IN_CORPUS = {
    "ban-drop-database", "identifier-too-long", "downgrade-not-judged", "executed-to-be-judged",
    "dropped-relation-has-relationships",
}  # fmt: skip


def list_cases(prefix: str) -> list[tuple[str, str]]:
    """Pairs of a rule and a case; a case of several revisions is one file for each, numbered."""
    files = CORPUS.glob(f"*/{prefix}_*.py")
    return sorted({(file.parent.name, file.stem.partition("__")[0]) for file in files})


def lint_case(make_project: MakeProject, rule: str, case: str) -> Report:
    """Lint the revisions of a case, after the base revision."""
    folder = CORPUS / rule
    revisions = [file for file in sorted(folder.glob(f"{case}*.py")) if file.stem.partition("__")[0] == case]
    extra = [folder / name for name in ("app.py", "pyproject.toml") if (folder / name).exists()]
    return lint(load_project(make_project(revisions, extra), "0001:heads"))


@pytest.mark.parametrize(("rule", "case"), list_cases("hazard"))
def test_hazard_is_found(make_project: MakeProject, rule: str, case: str) -> None:
    report = lint_case(make_project, rule, case)
    found = [finding for finding in report.findings if finding.rule == rule]
    assert found, [f"{finding.rule}: {finding.message}" for finding in report.findings]
    finding = found[0]
    assert finding.level == CATALOG[rule].level
    assert finding.line > 1
    assert Path(finding.file).name.startswith("hazard")
    assert finding.message
    assert finding.fix
    assert "{" not in finding.message


@pytest.mark.parametrize(("rule", "case"), list_cases("safe"))
def test_safe_twin_passes(make_project: MakeProject, rule: str, case: str) -> None:
    report = lint_case(make_project, rule, case)
    wrong = [f"{finding.rule}: {finding.message}" for finding in report.findings if finding.level != "note"]
    assert not wrong
    assert not [finding for finding in report.findings if finding.rule == rule and CATALOG[rule].level == "note"]


def test_every_rule_has_a_hazard_and_a_twin() -> None:
    for prefix in ("hazard", "safe"):
        assert {rule for rule, _ in list_cases(prefix)} == CATALOG.keys() - NOT_IN_CORPUS


def test_truth_of_each_case_was_established() -> None:
    page = (HERE.parents[1] / "docs" / "lint" / "truth.md").read_text()
    assert "0 contradict" in page
    assert "**contradicts" not in page
    for rule, case in (*list_cases("hazard"), *list_cases("safe")):
        assert f"| [{rule}]({rule}.md) | {case.replace('_', ' ')} |" in page, "run scripts/truth"
