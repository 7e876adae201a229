"""What revisions will do, for people: each statement with the lock that it takes and what takes its time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from remit.migrations.lint.locks import Mode, find_locks
from remit.migrations.lint.project import Project
from remit.migrations.lint.run import read_history
from remit.migrations.lint.view import RevisionView, Step

_SETTINGS = ("variable_set_stmt", "variable_show_stmt")


@dataclass(frozen=True)
class PlannedStatement:
    """A statement before it runs.

    Args:
        sql: what is sent.
        transaction: a number shared by the statements of one transaction; None outside of any.
        locks: the tables that it locks, as `tasks: ACCESS EXCLUSIVE`.
        new: whether it only touches tables that the revision itself makes, which nobody uses yet.
        work: what takes time in proportion to a table.
    """

    sql: str
    transaction: int | None
    locks: tuple[str, ...]
    new: bool
    work: tuple[str, ...]


@dataclass(frozen=True)
class PlannedRevision:
    """A revision before it runs."""

    id: str
    title: str
    statements: tuple[PlannedStatement, ...]


def make_plan(project: Project) -> list[PlannedRevision]:
    """The revisions of a project that were asked for, with what they run.

    Raises:
        LintError: one of them can neither be rendered nor run in a scratch database.
    """
    history, _, _ = read_history(project)
    titles = {script.revision: script.doc for script in project.revisions}
    return [
        PlannedRevision(view.revision.id, titles[view.revision.id], tuple(_plan_statements(view)))
        for view in history.asked
    ]


def _plan_statements(view: RevisionView) -> Iterator[PlannedStatement]:
    for step in view.upgrade:
        statement = step.statement
        locks = tuple(f"{table}: {name_mode(mode)}" for table, mode in sorted(step.locks.items()))
        work = tuple(f"{what} ({table})" for table, what in sorted(step.work.items()))
        yield PlannedStatement(statement.sql, statement.transaction, locks, _is_new(step), work)


def _is_new(step: Step) -> bool:
    statement = step.statement
    return not step.locks and (
        bool(find_locks(statement, step.before)) or statement.kind in ("create_stmt", "index_stmt")
    )


def name_mode(mode: Mode) -> str:
    """A lock mode as PostgreSQL writes it."""
    return mode.name.replace("_", " ")


def format_plan(plan: list[PlannedRevision]) -> str:
    """The plan as text."""
    if not plan:
        return "Nothing to do: the database is at the newest revision."
    blocks = []
    for revision in plan:
        lines = [f"{revision.id}  {revision.title}"]
        for number, group in groupby(revision.statements, key=lambda item: item.transaction):
            lines.append("  outside a transaction" if number is None else "  in one transaction")
            for item in group:
                lines.append(f"    {_shorten(item.sql, 60 if item.new else 140)}")
                lines += [f"      {line}" for line in describe_locks(item)]
        blocks.append("\n".join(lines))
    count = sum(len(revision.statements) for revision in plan)
    blocks.append(
        f"{len(plan)} revisions, {count} statements; those without a lock only touch what their revision makes. "
        "Nothing was changed."
    )
    return "\n\n".join(blocks)


def describe_locks(statement: PlannedStatement) -> list[str]:
    """The locks and the work of a statement, a line each; none where nobody can feel it."""
    found = [f"locks {lock}" for lock in statement.locks]
    return found + [f"takes time: {what}" for what in statement.work]


def _shorten(sql: str, length: int) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
