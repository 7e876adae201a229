"""The report as text, with a timeline."""

import io
import math
from collections.abc import Container

from rich.console import Console
from rich.table import Table
from rich.text import Text

from remit.migrations.rehearse.model import Report, RevisionReport, StatementReport
from remit.migrations.rehearse.timeline import Timeline, make_timeline
from remit.migrations.rehearse.verdict import (
    conclude,
    describe_growth,
    describe_retry,
    describe_revision,
    list_findings,
    list_remarks,
    shorten,
    show_bytes,
    show_ms,
    strongest_lock,
)

_WIDTH = 120
_SLICES = 84
_LEVELS = " ▁▂▃▄▅▆▇█"
_MOST_LOCKS = 6


def show_text(report: Report, *, colour: bool = False) -> str:
    """The report for a terminal."""
    out = io.StringIO()
    console = Console(
        file=out, width=_WIDTH, force_terminal=colour, no_color=not colour, highlight=False, markup=False, emoji=False
    )
    findings, remarks = list_findings(report), list_remarks(report)
    conclusion = Text(conclude(report, findings), style="bold red" if findings else "bold green")
    console.print(conclusion)
    console.print()
    for revision in report.revisions:
        _show_revision(console, report, revision)
    for text in remarks:
        console.print(f"Note: {text}")
    for text in findings:
        console.print(Text(f"Finding: {text}", style="bold red"))
    console.print(conclusion)
    console.print(f"Rehearsed on PostgreSQL {report.server} in {report.seconds:.0f} s.")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _show_revision(console: Console, report: Report, revision: RevisionReport) -> None:
    console.print(Text(f"Revision {revision.revision} {revision.title}".rstrip(), style="bold"))
    for line in describe_revision(revision):
        console.print(line)
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("", "statement"):
        table.add_column(heading, overflow="fold", ratio=1 if heading else None)
    for heading in ("took", "readers", "writers", "noise", "WAL"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("rewrites", "again"):
        table.add_column(heading, no_wrap=True)
    for number, statement in enumerate(revision.statements, 1):
        beyond = statement.stalls_beyond(report.max_stall_ms)
        stall = "bold red" if beyond else ""
        table.add_row(
            str(number),
            Text(_name(statement)),
            show_ms(statement.duration_ms),
            Text(show_ms(statement.read_stall_ms), style=stall),
            Text(show_ms(statement.write_stall_ms), style=stall),
            show_ms(statement.noise_ms),
            show_bytes(statement.wal_bytes),
            Text("yes" if statement.rewrite else "no", style="red" if statement.rewrite else ""),
            Text(describe_retry(statement), style="red" if any(statement.interrupted.values()) else ""),
        )
        table.add_row("", Text(_describe(statement, revision.rows), style="dim"))
    console.print(table)
    timeline = make_timeline(revision, _SLICES)
    if timeline is not None:
        _show_timeline(console, revision, timeline)
    console.print()


def _name(statement: StatementReport) -> str:
    times = f"{statement.times:,} times: " if statement.times > 1 else ""
    return times + shorten(statement.sql, 180)


def _describe(statement: StatementReport, tables: Container[str]) -> str:
    parts = []
    locks = [lock for lock in statement.locks if not lock.inherited]
    strongest = strongest_lock(statement, tables)
    locks.sort(key=lambda lock: lock is not strongest)
    parts += [f"{lock.mode} on {lock.relation}, {show_ms(lock.held_ms)}" for lock in locks[:_MOST_LOCKS]]
    if len(locks) > _MOST_LOCKS:
        parts.append(f"{len(locks) - _MOST_LOCKS} more locks")
    if strongest is not None and strongest.inherited:
        parts.append(f"under the {strongest.mode} on {strongest.relation} of before")
    if statement.rewritten:
        parts.append(f"writes {', '.join(statement.rewritten)} anew")
    if statement.emptied:
        parts.append(f"empties {', '.join(statement.emptied)}: new files, nothing is copied")
    growth = describe_growth(statement)
    return "; ".join([*parts, *([growth] if growth else [])]) or "no lock on anything that was there"


def _show_timeline(console: Console, revision: RevisionReport, timeline: Timeline) -> None:
    scale = max(max(series.values) for series in timeline.series)
    label = max(len(series.name) for series in timeline.series)
    console.print()
    ends = f"{show_ms(-timeline.start_ms)} before it to {show_ms(timeline.end_ms)}"
    console.print(f"Over time ({ends}; the taller, the longer a probe waited; full height {show_ms(scale)})")
    for number, statement in enumerate(revision.statements, 1):
        if len(revision.statements) > 12 and statement.duration_ms < timeline.slice_ms / 4:
            continue
        first = int((statement.started_ms - timeline.start_ms) // timeline.slice_ms)
        last = int((statement.started_ms + statement.duration_ms - timeline.start_ms) // timeline.slice_ms)
        console.print(f"{f'statement {number}':>{label}} " + " " * first + "━" * (last - first + 1))
    for series in timeline.series:
        bars = "".join(_choose_level(value, scale) for value in series.values)
        console.print(f"{series.name:>{label}} {bars}")


def _choose_level(value: float, scale: float) -> str:
    """Heights by the logarithm: what is usual stays visible beside what is not."""
    if value <= 0 or scale <= 0:
        return _LEVELS[0]
    share = math.log1p(value) / math.log1p(scale)
    return _LEVELS[max(1, min(8, round(share * 8)))]
