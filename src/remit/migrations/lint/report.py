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


def format_json(report: Report, root: Path) -> str:
    """One JSON document."""
    findings = [
        {
            "revision": finding.revision,
            "rule": finding.rule,
            "level": finding.level,
            "message": finding.message,
            "file": _show_file(finding.file, root),
            "line": finding.line,
            "sql": finding.sql,
            "fix": finding.fix,
        }
        for finding in report.findings
    ]
    allowed = [
        {"revision": finding.revision, "rule": finding.rule, "reason": by.reason, "line": by.line}
        for finding, by in report.allowed
    ]
    document = {
        "findings": findings,
        "revisions": report.revisions,
        "suppressed": allowed,
        "executed": [{"revision": name, "reason": reason} for name, reason in report.executed.items()],
    }
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
    blocks += [
        f"{name}  was executed in a scratch database, since it cannot be rendered: {reason}"
        for name, reason in report.executed.items()
    ]
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
    used = sorted({finding.rule for finding in report.findings})
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
                "results": [_describe_result(finding, used.index(finding.rule), root) for finding in report.findings],
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _describe_result(finding: Finding, index: int, root: Path) -> dict[str, Any]:
    text = f"{finding.message}\n\n{finding.fix}" if finding.fix else finding.message
    location = {"artifactLocation": {"uri": _show_file(finding.file, root)}, "region": {"startLine": finding.line}}
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _SARIF_LEVELS[finding.level],
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
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
