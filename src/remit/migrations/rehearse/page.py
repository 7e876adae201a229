"""The report as one HTML file that needs nothing else."""

from collections.abc import Container
from html import escape

from remit.migrations.rehearse.chart import draw
from remit.migrations.rehearse.model import LockHold, Report, RevisionReport, StatementReport
from remit.migrations.rehearse.verdict import (
    conclude,
    describe_growth,
    describe_retry,
    describe_revision,
    list_findings,
    list_remarks,
    show_bytes,
    show_ms,
    strongest_lock,
)

_STYLE = """
:root { color-scheme: light dark; --line: #d0d5dd; --soft: #667085; --bad: #b42318; --good: #067647; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .45rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-size: .8rem; color: var(--soft); font-weight: 600; }
th:nth-child(2) { width: 45%; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
code { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
small { color: var(--soft); display: block; }
.bad { color: var(--bad); font-weight: 600; } .good { color: var(--good); }
svg { width: 100%; height: auto; margin: 1rem 0; } ul { padding-left: 1.2rem; }
@media (prefers-color-scheme: dark) { :root { --line: #344054; --soft: #98a2b3; --bad: #f97066; --good: #47cd89; } }
"""
_HEADINGS = ("", "statement", "took", "readers waited", "writers waited", "noise", "WAL", "run again")


def show_page(report: Report) -> str:
    """The whole page."""
    findings, remarks = list_findings(report), list_remarks(report)
    names = ", ".join(revision.revision for revision in report.revisions)
    verdict = f'<p class="{"bad" if findings else "good"}">{escape(conclude(report, findings))}</p>'
    if findings:
        verdict += '<ul class="bad">' + "".join(f"<li>{escape(text)}</li>" for text in findings) + "</ul>"
    notes = "".join(f"<li>{escape(text)}</li>" for text in remarks)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Rehearsal of {escape(names)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Rehearsal of {escape(names)}</h1>"
        f"{verdict}{f'<h2>Notes</h2><ul>{notes}</ul>' if notes else ''}"
        + "".join(_show_revision(report, revision) for revision in report.revisions)
        + f"<p><small>Rehearsed on PostgreSQL {escape(report.server)} in {report.seconds:.0f} s. Readers and writers "
        f"may wait {report.max_stall_ms:g} ms.</small></p></body></html>"
    )


def _show_revision(report: Report, revision: RevisionReport) -> str:
    rows = "".join(
        _show_statement(report, number, statement, revision.rows)
        for number, statement in enumerate(revision.statements, 1)
    )
    head = "".join(f"<th>{text}</th>" for text in _HEADINGS)
    lines = "<br>".join(escape(line) for line in describe_revision(revision))
    queries = "".join(
        f"<li><code>{escape(query.sql)}</code> "
        + (f'<span class="bad">{escape(query.error)}</span>' if query.error else '<span class="good">works</span>')
        + (" (made up)" if query.made_up else "")
        + "</li>"
        for query in revision.queries
    )
    return (
        f"<h2>{escape(revision.revision)} {escape(revision.title)}</h2><p>{lines}</p>"
        f"{draw(revision, report.max_stall_ms)}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        + (f"<h3>Old queries</h3><ul>{queries}</ul>" if queries else "")
    )


def _show_statement(report: Report, number: int, statement: StatementReport, tables: Container[str]) -> str:
    stall = "n bad" if statement.stalls_beyond(report.max_stall_ms) else "n"
    retry = describe_retry(statement)
    reasons = "".join(
        f"<small>{escape(how)}: {escape(error)}</small>" for how, error in statement.interrupted.items() if error
    )
    details = [_show_lock(lock) for lock in statement.locks if not lock.inherited]
    strongest = strongest_lock(statement, tables)
    if strongest is not None and strongest.inherited:
        details.append(f"under the {escape(strongest.mode)} on {escape(strongest.relation)} of before")
    if statement.rewritten:
        details.append(f'<span class="bad">writes {escape(", ".join(statement.rewritten))} anew</span>')
    if statement.emptied:
        details.append(f"empties {escape(', '.join(statement.emptied))}: new files, nothing is copied")
    growth = describe_growth(statement)
    details += [escape(growth)] if growth else []
    details += [f'<span class="bad">{escape(statement.error)}</span>'] if statement.error else []
    times = f"{statement.times:,} times: " if statement.times > 1 else ""
    mark = "bad" if retry == "fails" else ""
    return (
        f'<tr><td class="n">{number}</td><td>{times}<code>{escape(statement.sql)}</code>'
        f"<small>{'<br>'.join(details)}</small></td>"
        f'<td class="n">{show_ms(statement.duration_ms)}</td>'
        f'<td class="{stall}">{show_ms(statement.read_stall_ms)}</td>'
        f'<td class="{stall}">{show_ms(statement.write_stall_ms)}</td><td class="n">{show_ms(statement.noise_ms)}</td>'
        f'<td class="n">{show_bytes(statement.wal_bytes)}</td>'
        f'<td><span class="{mark}">{retry}</span>{reasons}</td></tr>'
    )


def _show_lock(lock: LockHold) -> str:
    return f"{escape(lock.mode)} on {escape(lock.relation)} for {show_ms(lock.held_ms)}"
