"""What a rehearsal shows of each case of the lint's corpus: `scripts/truth`.

Writes tests/lint/truth.json, one entry for each case: what it locks, whether it writes a table anew, grows with the
table under a lock that keeps writers or readers out, can be run again, runs at all. `contradicts` says where a run does
not show what the corpus says. `by_run` is false for rules about what no run shows: downgrades, comments, time limits.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from remit.migrations.lint.errors import LintError
from remit.migrations.rehearse.errors import RehearseError
from remit.migrations.rehearse.migrator import run_through
from remit.migrations.rehearse.model import RevisionReport, StatementReport
from remit.migrations.rehearse.project import open_project
from remit.migrations.rehearse.run import Options, rehearse_on
from remit.migrations.rehearse.server import ScratchServer, open_server

LINT = Path(__file__).parents[1] / "tests" / "lint"
TARGET = LINT / "truth.json"
ROWS = 60_000
KEEPS_OUT = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
FELT_MS = 15.0
BY_RUN = {
    "adding-field-with-default", "adding-foreign-key-constraint", "adding-required-field",
    "adding-serial-primary-key-field", "autocommit-commits-earlier-half", "column-type-rewrites-table",
    "concurrently-in-transaction", "constraint-missing-not-valid", "disallowed-unique-constraint",
    "enum-value-used-too-early", "invalid-index-passes", "long-work-under-lock", "require-concurrent-index-creation",
    "require-concurrent-reindex", "set-not-null-scans-table", "validated-in-same-transaction",
    "work-after-exclusive-lock",
}  # fmt: skip
"""The rules whose truth is in a run: the others are about the code, the graph, comments, downgrades or time limits."""


def list_cases() -> list[tuple[str, str]]:
    files = (LINT / "corpus").glob("*/*_*.py")
    return sorted({(file.parent.name, file.stem.partition("__")[0]) for file in files if file.stem != "app"})


def run_case(server: ScratchServer, template: str, rule: str, case: str) -> dict[str, Any]:
    source = LINT / "corpus" / rule
    with tempfile.TemporaryDirectory(prefix="remit-truth-") as folder:
        project = Path(folder) / "project"
        shutil.copytree(LINT / "project", project, ignore=shutil.ignore_patterns("__pycache__"))
        for file in source.glob(f"{case}*.py"):
            if file.stem.partition("__")[0] == case:
                shutil.copy(file, project / "migrations" / "versions")
        options = Options(rows=ROWS, baseline_seconds=0.2)
        found: dict[str, Any] = {"rule": rule, "case": case}
        base = server.create(template)
        try:
            opened = open_project(project / "alembic.ini", "0001:heads")
            reports = rehearse_on(server, base, opened, options, lambda _: None)
        except (RehearseError, LintError) as error:
            return {**found, "error": str(error)}
        finally:
            server.drop(base)
    return {**found, **describe(reports)}


def describe(reports: list[RevisionReport]) -> dict[str, Any]:
    statements = [statement for report in reports for statement in report.statements]
    tables = {name for report in reports for name in report.rows}
    locks: dict[str, str] = {}
    for lock in (lock for statement in statements for lock in statement.locks if lock.relation in tables):
        if lock.mode in KEEPS_OUT:
            known = locks.get(lock.relation, KEEPS_OUT[0])
            locks[lock.relation] = max(known, lock.mode, key=KEEPS_OUT.index)
    return {
        "locks": locks,
        "rewrites": sorted({name for item in statements for name in item.rewritten if name in tables}),
        "grows_under_lock": any(works_under_lock(item) for item in statements),
        "retry_safe": all(report.retry_safe for report in reports),
        "error": next((report.error for report in reports if report.error), None),
    }


def works_under_lock(statement: StatementReport) -> bool:
    keeps_out = any(lock.mode in KEEPS_OUT for lock in statement.locks)
    growth = statement.growth
    return keeps_out and growth is not None and growth.duration_ms[1] > max(FELT_MS, 2 * growth.duration_ms[0])


def judge(found: dict[str, Any]) -> str | None:
    """What contradicts the corpus, in words."""
    if found["rule"] not in BY_RUN:
        return None
    shown = bool(
        found.get("error")
        or found.get("rewrites")
        or found.get("grows_under_lock")
        or not found.get("retry_safe", True)
    )
    if found["case"].startswith("hazard") and not shown:
        return "called a hazard, and the run shows none"
    if found["case"].startswith("safe") and shown:
        return "called safe, and the run shows a hazard"
    return None


def main() -> None:
    only = sys.argv[1:]
    known = {(item["rule"], item["case"]): item for item in json.loads(TARGET.read_text())} if TARGET.exists() else {}
    with open_server() as server:
        base = server.create()
        first = open_project(LINT / "project" / "alembic.ini", "0001")
        error, _ = run_through(first.order(server.dsn(base), "0001", watch=False))
        assert error is None, error
        for rule, case in list_cases():
            if only and rule not in only and f"{rule}/{case}" not in only:
                continue
            found = run_case(server, base, rule, case)
            if "the process that migrates ended" in (found.get("error") or ""):
                print(f"{rule}/{case}: not run: {found['error']}", flush=True)
                continue
            found["by_run"], found["contradicts"] = rule in BY_RUN, judge(found)
            known[rule, case] = found
            print(f"{rule}/{case}: {found['contradicts'] or 'as the corpus says'}", flush=True)
            cases = [known[key] for key in list_cases() if key in known]
            TARGET.write_text(json.dumps(cases, indent=1) + "\n")
    raise SystemExit(any(item["contradicts"] for item in known.values()))


if __name__ == "__main__":
    main()
