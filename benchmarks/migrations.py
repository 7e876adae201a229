"""Our own migrations, rehearsed at their full size: `scripts/bench migrations`.

Writes docs/benchmarks/migrations.md and the page of the creator columns beside it. `--only creators` or `--only rekey`
runs one of them.
"""

import sys
import tempfile
import time
from pathlib import Path

from remit.migrations.rehearse.model import Report, RevisionReport
from remit.migrations.rehearse.options import Options
from remit.migrations.rehearse.page import show_page
from remit.migrations.rehearse.project import open_project
from remit.migrations.rehearse.run import rehearse
from remit.migrations.rehearse.text import show_text
from remit.migrations.rehearse.verdict import list_findings, shorten, show_ms, strongest_lock

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "benchmarks"
MOST_STALL_MS = 50.0
MOST_NOISE_MS = 2.0
MOST_SECONDS = 120.0


def rehearse_creators() -> Report:
    return _rehearse(ROOT / "alembic.ini", "0001:0004", 1_000_000)


def rehearse_rekeying() -> Report:
    """The history with two revisions more, which give `relationships` another key."""
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as folder:
        config = Path(folder) / "alembic.ini"
        package = ROOT / "src" / "remit" / "migrations"
        config.write_text(
            f"[alembic]\nscript_location = {package}\npath_separator = newline\n"
            f"version_locations = {package / 'versions'}\n    {ROOT / 'benchmarks' / 'rekey'}\n"
        )
        from remit.migrations.state import head_revision

        return _rehearse(config, f"{head_revision()}:rekey_2", 4_000_000)


def _rehearse(config: Path, revisions: str, rows: int) -> Report:
    options = Options(rows=rows, measured_rows=rows, max_stall_ms=MOST_STALL_MS, baseline_seconds=3.0)
    return rehearse(open_project(config, revisions), options, lambda text: print(f"… {text}", flush=True))


def describe(title: str, report: Report) -> str:
    lines = [f"## {title}", ""]
    for revision in report.revisions:
        lines += [f"### {revision.revision} {revision.title}", "", *_describe_revision(revision), ""]
    findings = list_findings(report)
    lines += [*(f"- Finding: {text}" for text in findings), ""] if findings else []
    seconds = report.seconds / len(report.revisions)
    lines += [f"{report.seconds:.0f} s for {len(report.revisions)} revisions, {seconds:.0f} s each.", ""]
    return "\n".join(lines)


def _describe_revision(revision: RevisionReport) -> list[str]:
    noise = revision.noise
    assert noise is not None
    rows = ", ".join(f"{count:,} rows of {name}" for name, count in revision.rows.items())
    rows += f". Probes before it: median {noise.median_ms:.2f} ms, 99 % {noise.p99_ms:.2f} ms, "
    rows += f"longest {noise.max_ms:.2f} ms of {noise.requests:,} requests."
    lines = [
        rows,
        "",
        "| statement | strongest lock | took | readers | writers | noise | seen waiting for a lock | run again |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for statement in revision.statements:
        if statement.sql.startswith("SET "):
            continue
        lock = strongest_lock(statement, revision.rows)
        safe = "fails" if any(statement.interrupted.values()) else "safe"
        lines.append(
            f"| `{shorten(statement.sql, 90)}` | {f'{lock.mode}, {show_ms(lock.held_ms)}' if lock else ''} "
            f"| {show_ms(statement.duration_ms)} | {show_ms(statement.read_stall_ms)} "
            f"| {show_ms(statement.write_stall_ms)} | {show_ms(statement.noise_ms)} "
            f"| {show_ms(statement.lock_wait_ms)} | {safe} |"
        )
    return lines


def main() -> None:
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else None
    DOCS.mkdir(parents=True, exist_ok=True)
    parts, failed = [], False
    if only in (None, "creators"):
        report = rehearse_creators()
        (DOCS / "creator-columns.html").write_text(show_page(report))
        parts.append(describe("Creator columns of tasks, at a million rows", report))
        failed |= judge(report)
    if only in (None, "rekey"):
        report = rehearse_rekeying()
        parts.append(describe("Another key for relationships, at four million rows", report))
        failed |= judge(report)
    head = (
        "# Our migrations, rehearsed\n\nWritten by `scripts/bench migrations` "
        f"on {time.strftime('%Y-%m-%d', time.gmtime())}, two shared cores, PostgreSQL {report.server}. Readers and "
        "writers are those of `remit db rehearse`; noise is what a request to no table took at the same time. "
        "[The page of the first](creator-columns.html) has its chart.\n\n"
    )
    if only is None:
        (DOCS / "migrations.md").write_text(head + "\n".join(parts))
    else:
        print(head + "\n".join(parts))
    raise SystemExit(failed)


def judge(report: Report) -> bool:
    """Print the report and whether the budgets are kept; True if one is not."""
    print(show_text(report))
    failed = report.failed
    for revision in report.revisions:
        assert revision.noise is not None
        print(f"{revision.revision}: the probes disturb each other: median {revision.noise.median_ms:.2f} ms")
        failed |= revision.noise.median_ms > MOST_NOISE_MS
    seconds = report.seconds / len(report.revisions)
    print(f"{seconds:.0f} s for each revision")
    if report.rows <= 1_000_000:
        failed |= seconds > MOST_SECONDS
    return failed


if __name__ == "__main__":
    main()
