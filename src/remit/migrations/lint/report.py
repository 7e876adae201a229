"""A report as text, JSON, GitHub annotations or SARIF 2.1.0."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.model import Finding
from remit.migrations.lint.run import Report
from remit.version import __version__

_SARIF_LEVELS = {"error": "error", "warn": "warning", "note": "note"}
_GITHUB_LEVELS = {"error": "error", "warn": "warning", "note": "notice"}


def format_json(report: Report, root: Path) -> str:  # noqa: ARG001 - as the other formats
    """One JSON document; what a comment allows is in it as a note of the rule `suppressed`, so that it is counted."""
    notes = [
        {
            "revision": finding.revision,
            "rule": "suppressed",
            "level": "note",
            "message": f"{finding.rule} is allowed here because {by.reason}",
            "line": finding.line,
            "sql": finding.sql,
            "fix": "",
        }
        for finding, by in report.allowed
    ]
    findings = [
        {
            "revision": finding.revision,
            "rule": finding.rule,
            "level": finding.level,
            "message": finding.message,
            "line": finding.line,
            "sql": finding.sql,
            "fix": finding.fix,
        }
        for finding in report.findings
    ]
    document = {"findings": [*findings, *notes], "revisions": report.revisions}
    return json.dumps(document, indent=2, ensure_ascii=False)


def format_text(report: Report, root: Path) -> str:
    """For people: each revision with its findings, then one line that counts them."""
    blocks = []
    for (revision, file), group in groupby(report.findings, key=lambda finding: (finding.revision, finding.file)):
        lines = [f"{revision}  {_show_file(file, root)}"]
        for finding in group:
            lines.append(f"  {finding.line}: {finding.level} {finding.rule}")
            lines.append(f"    {finding.message}")
            if finding.sql:
                lines.append(f"    sql: {_shorten(finding.sql)}")
            if finding.level != "note" and finding.fix:
                lines.append("    instead:")
                lines += [f"      {line}" for line in finding.fix.splitlines()]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, _count(report)])


def _count(report: Report) -> str:
    levels = Counter(finding.level for finding in report.findings)
    counts = f"{levels['error']} errors, {levels['warn']} warnings, {levels['note']} notes"
    revisions = f"{report.revisions} revision" + ("" if report.revisions == 1 else "s")
    return f"{revisions}: {counts}, {len(report.allowed)} suppressed."


def format_github(report: Report, root: Path) -> str:
    """Workflow commands that GitHub shows beside the lines."""
    lines = []
    for finding in report.findings:
        place = f"file={_escape_property(_show_file(finding.file, root))},line={finding.line}"
        title = _escape_property(f"{finding.rule} ({finding.revision})")
        text = finding.message + (f"\ninstead:\n{finding.fix}" if finding.fix else "")
        lines.append(f"::{_GITHUB_LEVELS[finding.level]} {place},title={title}::{_escape(text)}")
    return "\n".join([*lines, _count(report)])


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def format_sarif(report: Report, root: Path) -> str:
    """SARIF, for code scanning."""
    results = [(finding, None) for finding in report.findings] + [
        (finding, by.reason) for finding, by in report.allowed
    ]
    used = sorted({finding.rule for finding, _ in results})
    rules = [
        {
            "id": rule,
            "shortDescription": {"text": CATALOG[rule].title},
            "fullDescription": {"text": CATALOG[rule].why},
            "help": {"text": f"docs/lint/{rule}.md"},
            "defaultConfiguration": {"level": _SARIF_LEVELS[CATALOG[rule].level]},
        }
        for rule in used
    ]
    driver = {"name": "remit db lint", "version": __version__, "rules": rules}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "results": [
                    _describe_result(finding, used.index(finding.rule), root, reason) for finding, reason in results
                ],
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _describe_result(finding: Finding, index: int, root: Path, reason: str | None) -> dict[str, Any]:
    text = f"{finding.message}\n\n{finding.fix}" if finding.fix else finding.message
    location = {"artifactLocation": {"uri": _show_file(finding.file, root)}, "region": {"startLine": finding.line}}
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _SARIF_LEVELS[finding.level],
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
        **({"suppressions": [{"kind": "inSource", "justification": reason}]} if reason is not None else {}),
        "properties": {"revision": finding.revision, "sql": finding.sql},
    }


def _show_file(file: Path, root: Path) -> str:
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def _shorten(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= 160 else f"{text[:159]}…"


FORMATS: dict[str, Callable[[Report, Path], str]] = {
    "text": format_text,
    "json": format_json,
    "github": format_github,
    "sarif": format_sarif,
}
