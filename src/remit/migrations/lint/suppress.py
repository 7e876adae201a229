"""`# remit: allow RULE because …` beside a statement."""

import io
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.model import Finding
from remit.migrations.lint.rules.finding import fill

_MARK = "remit: allow "


@dataclass(frozen=True)
class Suppression:
    """A comment that allows a rule at the lines from `first` to `line`: its own and, alone on a line, the next."""

    file: Path
    line: int
    covers: tuple[int, ...]
    rule: str
    reason: str


def read_suppressions(files: Iterable[Path]) -> list[Suppression]:
    """The suppressions in Python files."""
    found = []
    for file in sorted(set(files)):
        if file.suffix == ".py" and file.is_file():
            found += _read_file(file)
    return found


def _read_file(file: Path) -> list[Suppression]:
    text = file.read_text()
    if _MARK not in text:
        return []
    lines, found = text.splitlines(), []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        comment = token.string.lstrip("# ")
        if token.type != tokenize.COMMENT or not comment.startswith(_MARK):
            continue
        rule, _, rest = comment.removeprefix(_MARK).strip().partition(" ")
        keyword, _, reason = rest.strip().partition(" ")
        number = token.start[0]
        covers = [number]
        while number <= len(lines) and lines[number - 1].lstrip().startswith("#"):
            number += 1
            covers.append(number)
        found.append(Suppression(file, token.start[0], tuple(covers), rule, reason if keyword == "because" else ""))
    return found


def apply_suppressions(
    findings: Sequence[Finding], suppressions: Sequence[Suppression], owners: dict[Path, str]
) -> tuple[list[Finding], list[tuple[Finding, Suppression]]]:
    """Take out what is allowed, and add what is wrong with the suppressions themselves.

    Args:
        findings: all of them.
        suppressions: those of the files that belong to them.
        owners: the files whose unused suppressions are findings, with the revision to name.

    Returns:
        What is left, and what was allowed by what.
    """
    used: set[Suppression] = set()
    kept, allowed = [], []
    for finding in findings:
        by = next((item for item in suppressions if item.reason and _covers(item, finding)), None)
        if by is None:
            kept.append(finding)
        else:
            used.add(by)
            allowed.append((finding, by))
    for item in suppressions:
        if item.file not in owners or item in used:
            continue
        rule = "unused-suppression" if item.reason else "suppression-without-reason"
        info, names = CATALOG[rule], {"rule": item.rule}
        message = fill(info.message, names)
        if item.rule not in CATALOG:
            message += "; there is no such rule"
        kept.append(
            Finding(owners[item.file], rule, info.level, message, item.file, item.line, "", fill(info.fix, names))
        )
    return kept, allowed


def _covers(suppression: Suppression, finding: Finding) -> bool:
    if suppression.rule != finding.rule:
        return False
    if not finding.sites:
        return suppression.file == finding.file
    return any(
        site.file.resolve() == suppression.file
        and any(site.line <= line <= site.end_line for line in suppression.covers)
        for site in finding.sites
    )
