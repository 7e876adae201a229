"""Rows of a busy table written by the migration itself."""

from collections import Counter
from collections.abc import Iterator

from remit.migrations.lint.model import Finding, Site, Statement
from remit.migrations.lint.parse import name_of
from remit.migrations.lint.rows import measure, measure_merge
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.view import History, RevisionView, Step
from remit.migrations.lint.work import read_tables

_HELD = ": the rows stay locked, and dead ones stay, until it commits; writers of those rows wait"
_OLD = ": until it commits VACUUM removes nothing, and what is written meanwhile is not in the copy"
_UNSEEN = (
    "reads the rows of {table} and does what could not be seen with each: to be judged it was executed on empty tables"
)
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
        # Who was executed on empty tables may repeat on others what it did once.
        repeated = runs[statement.sites] > 1 or view.revision.executed
        reason = _find_reason(step, read, repeated=repeated)
        if reason is not None:
            told.add(statement.sites)
            table, text = reason
            yield find(view, step, "backfill-in-migration", table=table, why=text.format(table=table) + _HELD)
        elif _copies(statement) and step.work:
            told.add(statement.sites)
            table = next(iter(step.work))
            why = f"copies the rows of {table} in one transaction{_OLD}"
            yield find(view, step, "backfill-in-migration", level="warn", table=table, why=why)
        elif view.revision.executed and (table := _find_read_rows(statement, step)):
            told.add(statement.sites)
            yield find(view, step, "backfill-in-migration", table=table, why=_UNSEEN.format(table=table))


def _copies(statement: Statement) -> bool:
    if statement.kind == "create_table_as_stmt":
        return bool(statement.body.get("objtype") != "OBJECT_MATVIEW")  # which cannot be filled in any other way
    return statement.kind == "insert_stmt" or (statement.kind == "select_stmt" and "into_clause" in statement.body)


def _find_reason(step: Step, read: set[str], *, repeated: bool) -> tuple[str, str] | None:
    for part in (step.statement, *step.statement.inner):
        if part.kind not in _CHANGES or not step.locks:
            continue
        table = name_of(part.body["relation"])
        if table not in step.locks:
            continue
        size = measure_merge(part.body) if part.kind == "merge_stmt" else measure(part.body, step.before, table)
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


def _find_read_rows(statement: Statement, step: Step) -> str:
    """The busy table of which a query answers with any number of rows; empty if there is none."""
    tables = _find_whole_reads(statement, step)
    answers = [item["res_target"]["val"] for item in statement.body.get("target_list", ())] if tables else []
    if not any("column_ref" in answer for answer in answers):
        return ""
    return next((table for table in sorted(tables) if measure(statement.body, step.before, table) != "few"), "")


def decides_by_rows(view: RevisionView) -> bool:
    """Whether a revision asks for rows of a busy table, and not for some that it names by their key."""
    for step in view.upgrade:
        body = step.statement.body
        if step.statement.kind == "select_stmt":
            known = ((table, step.before.tables.get(table)) for table in read_tables(body.get("from_clause", ())))
            busy = [table for table, made in known if made is not None and made.revision != view.revision.id]
            if any(measure(body, step.before, table) != "few" for table in busy):
                return True
    return False
