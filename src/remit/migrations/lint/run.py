"""Lints a project: render, view, judge, suppress."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.script import Script
from sqlalchemy.exc import NoInspectionAvailable

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.code import index_code
from remit.migrations.lint.errors import LintError, NeedsDatabaseError
from remit.migrations.lint.model import Direction, Event, Finding, Level, Revision, Statement
from remit.migrations.lint.project import Project
from remit.migrations.lint.relations import find_dropped
from remit.migrations.lint.render import Rendering, describe, render
from remit.migrations.lint.rules import ALL
from remit.migrations.lint.rules.backfill import decides_by_rows
from remit.migrations.lint.rules.finding import fill
from remit.migrations.lint.scratch import Scratch, run_in_scratch
from remit.migrations.lint.squawk import ask_squawk
from remit.migrations.lint.statements import read_environment, split_statements
from remit.migrations.lint.suppress import Suppression, apply_suppressions, read_suppressions
from remit.migrations.lint.view import History, RevisionView, Walker

_ORDER = {"error": 0, "warn": 1, "note": 2}
_ASKS_DATABASE = (NeedsDatabaseError, NoInspectionAvailable, AttributeError, TypeError)


@dataclass(frozen=True)
class Report:
    """What a run found.

    Args:
        findings: by revision, worst first within one.
        allowed: findings that a comment allows, with that comment.
        revisions: how many were judged.
    """

    findings: list[Finding]
    allowed: list[tuple[Finding, Suppression]]
    revisions: int

    @property
    def failed(self) -> bool:
        """Whether a finding is an error."""
        return any(finding.level == "error" for finding in self.findings)


def lint(project: Project) -> Report:
    """Judge the revisions that were asked for.

    Raises:
        LintError: a revision cannot be judged, or a program is missing. Nothing is passed over.
    """
    if not project.asked:
        return Report([], [], 0)
    history, executed, unjudged = read_history(project)
    findings = [finding for rule in ALL for finding in rule(history)]
    findings += ask_squawk(history)
    for view in history.asked:
        for rule, errors in (("downgrade-not-judged", unjudged), ("executed-to-be-judged", executed)):
            if view.revision.id in errors:
                findings.append(_tell(view, rule, errors[view.revision.id]))
    findings = _merge([finding for finding in findings if finding.rule not in project.settings.disable])
    kept, allowed = apply_suppressions(findings, *_find_suppressions(project, history))
    places = {view.revision.id: number for number, view in enumerate(history.revisions)}
    kept.sort(key=lambda finding: (places[finding.revision], finding.line, _ORDER[finding.level], finding.rule))
    return Report(kept, allowed, len(project.asked))


def read_history(project: Project) -> tuple[History, dict[str, str], dict[str, str]]:
    """What the revisions run, statement by statement.

    Returns:
        The history; the revisions that had to be executed in a scratch database, with the reason; and the downgrades
        that failed there too.

    Raises:
        LintError: a revision neither renders nor runs.
    """
    up = render(project.config, project.script, project.revisions, "upgrade")
    down = render(project.config, project.script, list(reversed(project.asked_revisions)), "downgrade")
    refused = {name: describe(error) for name, error in down.failed.items() if isinstance(error, _ASKS_DATABASE)}
    executed = {name: describe(error) for name, error in up.failed.items() if name in project.asked}
    unjudged: dict[str, str] = {}
    if executed or refused:
        unjudged = _execute(project, up, down, refused)
    # A downgrade that refuses undoes what it did before.
    down.events = [event for event in down.events if event.revision not in down.failed]
    return _view_history(project, up, down, executed), executed, unjudged


def _execute(project: Project, up: Rendering, down: Rendering, refused: dict[str, str]) -> dict[str, str]:
    """Replace what could not be rendered by what runs in a scratch database; downgrades that fail there too."""
    ran_up, ran_down, failed = run_in_scratch(
        project.config, project.script, up.options, lambda scratch: _run_history(project, up, refused, scratch)
    )
    up.events = _replace(up, ran_up)
    down.events = _replace(down, ran_down)
    down.failed = {name: error for name, error in down.failed.items() if name not in ran_down}
    return failed


def _run_history(
    project: Project, up: Rendering, refused: dict[str, str], scratch: Scratch
) -> tuple[dict[str, list[Event]], dict[str, list[Event]], dict[str, str]]:
    """What the revisions run that could not be rendered, up and down; and the downgrades that failed."""
    needed = {*(up.failed.keys() & project.asked), *refused}
    ran_up: dict[str, list[Event]] = {}
    ran_down: dict[str, list[Event]] = {}
    failed: dict[str, str] = {}
    broken = ""
    for revision in project.revisions:
        name = revision.revision
        try:
            events = scratch.migrate([revision], "upgrade")
        except LintError as error:
            if name in up.failed:
                raise LintError(f"{error}{broken}") from error
            scratch.give_up()  # it was rendered; what needs its tables fails too, and says so
            broken = broken or f"; before it {error}"
            events = []
        if name in up.failed:
            ran_up[name] = events
        if name in refused:
            try:
                ran_down[name] = scratch.migrate([revision], "downgrade")
                scratch.migrate([revision], "upgrade")
            except LintError as error:
                scratch.give_up()
                failed[name] = str(error)
        needed.discard(name)
        if not needed:
            break
    return ran_up, ran_down, failed


def _replace(rendering: Rendering, ran: dict[str, list[Event]]) -> list[Event]:
    """The events with those of some revisions exchanged, at the place of the revision's first."""
    found: list[Event] = []
    position = {name: place for name, place in rendering.starts.items() if name in ran}
    for place, event in enumerate(rendering.events):
        found += [new for name, start in position.items() if start == place for new in ran[name]]
        if event.revision not in ran:
            found.append(event)
    found += [new for name, start in position.items() if start >= len(rendering.events) for new in ran[name]]
    return found


def _view_history(project: Project, up: Rendering, down: Rendering, executed: Collection[str]) -> History:
    env = Path(project.script.dir) / "env.py"
    environment = read_environment(env, up.options, [event for event in up.events if event.revision is None])
    per_migration = environment.transaction_per_migration
    upgrades = _by_revision(up.events, "upgrade", per_migration=per_migration)
    downgrades = _by_revision(down.events, "downgrade", per_migration=True)
    walker = Walker(project.settings, environment)
    views = [
        walker.view(
            _describe_revision(script, project, executed=script.revision in executed),
            upgrades.get(script.revision, []),
            downgrades.get(script.revision, []),
        )
        for script in project.revisions
    ]
    folders = [project.root / folder for folder in project.settings.code]
    for folder in folders:
        if not folder.is_dir():
            raise LintError(f"the settings name the folder {folder} as code, and there is none")
    code = index_code(folders, Path(project.script.dir), project.root)
    dropped = {name: find_dropped(project.root / name, project.since) for name in project.settings.relation_schema}
    return History(project.settings, environment, tuple(views), project.heads, walker.schema, code, dropped)


def _by_revision(events: Sequence[Event], direction: Direction, *, per_migration: bool) -> dict[str, list[Statement]]:
    found: dict[str, list[Statement]] = {}
    for statement in split_statements(events, direction, per_migration=per_migration):
        found.setdefault(statement.revision, []).append(statement)
    return found


def _describe_revision(script: Script, project: Project, *, executed: bool) -> Revision:
    upgrade = getattr(script.module, "upgrade", None)
    line = getattr(getattr(upgrade, "__code__", None), "co_firstlineno", 1)
    return Revision(script.revision, Path(script.path).resolve(), script.revision in project.asked, line, executed)


def _tell(view: RevisionView, rule: str, error: str) -> Finding:
    """A note on how a revision was judged."""
    info, revision = CATALOG[rule], view.revision
    message = fill(info.message, {"error": error})
    level: Level = "warn" if rule == "executed-to-be-judged" and decides_by_rows(view) else info.level
    return Finding(revision.id, info.id, level, message, revision.file, revision.line, "", info.fix)


def _merge(findings: Sequence[Finding]) -> list[Finding]:
    """Without repetitions: a loop sends the same line many times."""
    seen: dict[tuple[str, str, Path, int, str], Finding] = {}
    for finding in findings:
        seen.setdefault((finding.revision, finding.rule, finding.file, finding.line, finding.message), finding)
    return list(seen.values())


def _find_suppressions(project: Project, history: History) -> tuple[list[Suppression], dict[Path, str]]:
    """The suppressions of the revisions and their helpers; a helper's are judged with all of its users."""
    owners = {view.revision.file: view.revision.id for view in history.asked}
    helpers: dict[Path, str] = {}
    for view in history.asked:
        for step in (*view.upgrade, *view.downgrade):
            for site in step.statement.sites:
                helpers.setdefault(site.file.resolve(), view.revision.id)
    if len(project.asked) == len(project.revisions):
        owners = {**helpers, **owners}
    return read_suppressions([*owners, *helpers]), owners
