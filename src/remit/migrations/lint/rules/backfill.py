"""Rows of a busy table written by the migration itself."""

from collections import Counter
from collections.abc import Iterator

from remit.migrations.lint.model import Finding, Site, Statement
from remit.migrations.lint.parse import name_of
from remit.migrations.lint.rows import measure
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.view import History, RevisionView, Step

_HELD = ": the rows stay locked, and dead ones stay, until it commits; writers of those rows wait"
_OLD = ": until it commits VACUUM removes nothing, and what is written meanwhile is not in the copy"
_CHANGES = ("update_stmt", "delete_stmt", "merge_stmt")


def check_backfills(history: History) -> Iterator[Finding]:
    """An UPDATE or DELETE of unknown size, a loop over all rows, or batches that share one transaction."""
    for view in history.asked:
        yield from _check_revision(view)


def _check_revision(view: RevisionView) -> Iterator[Finding]:
    runs = Counter(step.statement.sites for step in view.upgrade)
    read: set[str] = set()
    told: set[tuple[Site, ...]] = set()
    for step in view.upgrade:
        statement = step.statement
        read |= _find_whole_reads(statement, step)
        if statement.sites in told and statement.sites:
            continue
        reason = _find_reason(step, read, repeated=runs[statement.sites] > 1)
        if reason is not None:
            told.add(statement.sites)
            table, text = reason
            yield find(view, step, "backfill-in-migration", table=table, why=text.format(table=table) + _HELD)
        elif _copies(statement) and step.work:
            told.add(statement.sites)
            table = next(iter(step.work))
            why = f"copies the rows of {table} in one transaction{_OLD}"
            yield find(view, step, "backfill-in-migration", level="warn", table=table, why=why)


def _copies(statement: Statement) -> bool:
    if statement.kind == "create_table_as_stmt":
        return bool(statement.body.get("objtype") != "OBJECT_MATVIEW")  # which cannot be filled in any other way
    return statement.kind == "insert_stmt"


def _find_reason(step: Step, read: set[str], *, repeated: bool) -> tuple[str, str] | None:
    for part in (step.statement, *step.statement.inner):
        if part.kind not in _CHANGES or not step.locks:
            continue
        table = name_of(part.body["relation"])
        if table not in step.locks:
            continue
        size = "whole" if part.kind == "merge_stmt" else measure(part.body, step.before, table)
        inside = part is not step.statement
        if size == "whole":
            return table, "changes any number of rows of {table} in one statement"
        if size == "batch" and (inside or repeated) and step.statement.transaction is not None:
            return table, "changes {table} in batches, but all of them in one transaction"
        if size == "few" and read and step.statement.transaction is not None:
            return table, "reads all rows of {table} and changes them one by one in one transaction"
    return None


def _find_whole_reads(statement: Statement, step: Step) -> set[str]:
    body = statement.body
    if statement.kind != "select_stmt" or "limit_count" in body or "group_clause" in body:
        return set()
    tables = {name_of(item["range_var"]) for item in body.get("from_clause", ()) if "range_var" in item}
    return {
        table
        for table in tables
        if (known := step.before.tables.get(table)) is None or known.revision != statement.revision
    }
