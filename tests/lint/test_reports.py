"""The forms of the output, and where each finding points."""

import json
from pathlib import Path

import pytest
from lint.conftest import MakeProject, write_revision
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog

from remit.cli import run_command
from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.pages import COMPARISON, TRUTH, make_pages

ROOT = Path(__file__).parents[2]
TWO_STATEMENTS = """\
op.create_index("ix_a", "users", ["age"])
op.execute(
    '''
    UPDATE users SET name = '100%, a:b'
    '''
)"""


def run_lint(config: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(["db", "lint", "--config", str(config), *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def config(make_project: MakeProject) -> Path:
    made = make_project()
    write_revision(made.parent, TWO_STATEMENTS)
    return made


def test_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_lint(config, capsys, "--range", "0001:head", "--format", "json")
    document = json.loads(out)
    assert code == 1
    assert document["revisions"] == 1
    index, update = (finding for finding in document["findings"] if finding["level"] == "error")
    assert document.keys() == {"findings", "revisions"}
    assert index.keys() == {"revision", "rule", "level", "message", "line", "sql", "fix"}
    assert (index["revision"], index["rule"], index["line"]) == ("0002", "require-concurrent-index-creation", 11)
    assert (update["rule"], update["line"]) == ("backfill-in-migration", 12)
    assert update["sql"] == "UPDATE users SET name = '100%, a:b'"
    assert "CREATE INDEX CONCURRENTLY ix_a ON users (age)" in index["fix"]


def test_sarif(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run_lint(config, capsys, "--range", "0001:head", "--format", "sarif")
    document = json.loads(out)
    SarifLog.model_validate(document)
    [run] = document["runs"]
    assert document["version"] == "2.1.0"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        [location] = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "migrations/versions/0002.py"
        assert place["region"]["startLine"] >= 1
    assert {result["level"] for result in run["results"]} == {"error", "note"}


def test_github(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run_lint(config, capsys, "--range", "0001:head", "--format", "github")
    annotations = [line for line in out.splitlines() if line.startswith("::")]
    title = "title=require-concurrent-index-creation (0002)"
    assert any(line.startswith(f"::error file=migrations/versions/0002.py,line=11,{title}::") for line in annotations)
    assert all("%0Ainstead:%0A" in line for line in annotations if line.startswith("::error"))


def test_text(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run_lint(config, capsys, "--range", "0001:head")
    assert "0002  migrations/versions/0002.py" in out
    assert "11: error require-concurrent-index-creation" in out
    assert out.rstrip().splitlines()[-1] == "1 revision: 2 errors, 0 warnings, 1 notes, 0 suppressed."


def test_nothing_found_is_zero(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_lint(make_project(), capsys)
    assert code == 0
    assert out.startswith("1 revision: 0 errors")


def test_suppressions_are_counted(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_project()
    allow = "# remit: allow backfill-in-migration because the table is small"
    write_revision(config.parent, f'op.execute("UPDATE users SET name = 1")  {allow}')
    code, out, _ = run_lint(config, capsys, "--format", "json")
    assert code == 0
    [suppressed] = [finding for finding in json.loads(out)["findings"] if finding["rule"] == "suppressed"]
    assert suppressed["level"] == "note"
    assert suppressed["message"] == "backfill-in-migration is allowed here because the table is small"
    code, out, _ = run_lint(config, capsys, "--format", "sarif")
    SarifLog.model_validate_json(out)
    [result] = [item for item in json.loads(out)["runs"][0]["results"] if "suppressions" in item]
    assert result["suppressions"] == [{"kind": "inSource", "justification": "the table is small"}]


def test_a_batch_points_at_its_operations(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_project()
    write_revision(
        config.parent,
        'with op.batch_alter_table("users") as batch:\n'
        "    # remit: allow set-not-null-scans-table because it is a table of ten rows\n"
        '    batch.alter_column("name", nullable=False)\n'
        '    batch.alter_column("age", nullable=False)',
    )
    _, out, _ = run_lint(config, capsys, "--range", "0001:head", "--format", "json")
    findings = json.loads(out)["findings"]
    places = {(item["rule"], item["line"]) for item in findings if item["level"] == "error"}
    assert places == {("set-not-null-scans-table", 14), ("work-after-exclusive-lock", 14)}


def test_pages_are_current() -> None:
    pages = make_pages()
    assert pages.keys() == {"README.md", *(f"{rule}.md" for rule in CATALOG)}
    files = [file for file in (ROOT / "docs" / "lint").glob("*.md") if file.name not in (COMPARISON, TRUTH)]
    written = {file.name: file.read_text() for file in files}
    assert not [name for name, text in pages.items() if "{" in text and name != "README.md"]
    assert written == pages, "run python -m remit.migrations.lint.pages docs/lint"


def test_own_history(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_lint(ROOT / "alembic.ini", capsys, "--format", "json")
    document = json.loads(out)
    assert [finding for finding in document["findings"] if finding["level"] != "note"] == []
    assert code == 0
    assert document["revisions"] >= 8
