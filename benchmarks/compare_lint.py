"""Our corpus of hazards and safe twins, judged by other linters and by `remit db lint`: `scripts/compare-lint`.

Writes docs/lint/comparison.md. One measure for all: any finding on a hazard counts as caught, whatever rule it is of;
a finding of level warning or more on a safe twin is a false alarm.
"""

import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from alembic import command
from alembic.config import Config
from corpus_truth.case import LINT, list_cases, list_revisions
from linters.comparison_page import OURS, Case, make_page
from linters.tools import TOOLS, Said, Tool

from remit.migrations.lint.project import load_project
from remit.migrations.lint.run import lint

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "lint" / "comparison.md"


def prepare(folder: Path, rule: str, case: str) -> list[str]:
    """Make the project of a case; the files of its revisions."""
    source = LINT / "corpus" / rule
    shutil.copytree(LINT / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    # Some linters know revisions by the name of their folder.
    (folder / "migrations").rename(folder / "alembic")
    config = folder / "alembic.ini"
    config.write_text(config.read_text().replace("/migrations", "/alembic"))
    files = list_revisions(rule, case)
    for file in files:
        shutil.copy(file, folder / "alembic" / "versions")
    for extra in (source / name for name in ("app.py", "pyproject.toml")):
        if extra.exists():
            shutil.copy(extra, folder)
    return [f"alembic/versions/{file.name}" for file in files]


def render(folder: Path, *, downgrade: bool) -> list[str]:
    """Write what Alembic renders; no file if it cannot render the case without a database."""
    files = []
    for name, run, span in (("up", command.upgrade, "0001:heads"), ("down", command.downgrade, "head:0001")):
        if name == "down" and not downgrade:
            continue
        output = io.StringIO()
        try:
            with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
                run(Config(str(folder / "alembic.ini"), output_buffer=output), span, sql=True)
        except Exception as error:  # noqa: BLE001 - env.py and revisions may raise anything
            print(f"{folder.name}: {name} is not rendered: {error!r}", file=sys.stderr)
            continue
        (folder / f"{name}.sql").write_text(output.getvalue())
        files.append(f"{name}.sql")
    return files


def judge(environments: Path, rule: str, name: str) -> Case:
    """Ask all linters about one case."""
    with tempfile.TemporaryDirectory(prefix="remit-compare-") as top:
        folder = Path(top) / name
        revisions = prepare(folder, rule, name)
        downgrade = rule.startswith("downgrade-")
        files = {"revisions": revisions, "sql": render(folder, downgrade=downgrade), "config": []}
        levels = [finding.level for finding in lint(load_project(folder / "alembic.ini", "0001:heads")).findings]
        said: dict[str, Said | None] = {OURS: Said(len(levels), sum(level != "note" for level in levels))}

        def ask(tool: Tool) -> Said | None:
            given = files[tool.reads]
            if not given and tool.reads == "sql":
                return None
            parts = [[file] for file in given] if tool.reads == "sql" else [given]
            try:
                answers = [tool.ask(environments, folder, part, downgrade=downgrade) for part in parts]
            except RuntimeError as error:
                print(f"{name}: {str(error)[-300:]}", file=sys.stderr)
                return None
            return Said(sum(item.findings for item in answers), sum(item.warnings for item in answers))

        with ThreadPoolExecutor(4) as threads:
            said |= zip((tool.name for tool in TOOLS), threads.map(ask, TOOLS), strict=True)
    return Case(rule, name, said)


def main(arguments: Sequence[str]) -> None:
    environments = Path(arguments[0])
    cases = []
    for rule, name in list_cases():
        print(f"{rule}/{name}", file=sys.stderr, flush=True)
        cases.append(judge(environments, rule, name))
    TARGET.write_text(make_page(cases))
    print(f"wrote {TARGET.relative_to(ROOT)}: {len(cases)} cases")


if __name__ == "__main__":
    main(sys.argv[1:])
