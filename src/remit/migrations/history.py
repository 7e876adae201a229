"""Writes the history of the schema for people: `python -m remit.migrations.history docs/migrations.md`."""

import sys
from pathlib import Path

from remit.migrations.lint.project import make_project
from remit.migrations.plan import PlannedRevision, PlannedStatement, describe_locks, make_plan
from remit.migrations.run import make_config

_INTRODUCTION = """\
Written from the revisions by `python -m remit.migrations.history docs/migrations.md`; a test compares. Under each
statement stand the locks that it takes on tables in use, and what takes time in proportion to one. What only touches
tables that the revision itself makes, which nobody uses yet, has neither. A test compares the locks with those that a
server really grants."""


def make_page() -> str:
    """The page."""
    plan = make_plan(make_project(make_config(), (), "head"))
    return "\n".join(["# Migrations", "", _INTRODUCTION, *(line for item in plan for line in _describe(item)), ""])


def _describe(revision: PlannedRevision) -> list[str]:
    lines = ["", f"## {revision.id} {revision.title}"]
    last: int | None = -1
    for statement in revision.statements:
        if statement.transaction != last:
            lines += ["", "Outside a transaction:" if statement.transaction is None else "In one transaction:", ""]
        last = statement.transaction
        lines += _describe_statement(statement)
    return lines


def _describe_statement(statement: PlannedStatement) -> list[str]:
    text = " ".join(statement.sql.split())
    if statement.new or text.upper().startswith("CREATE TABLE"):
        text = f"{text.partition('(')[0]}(…)"  # a page of columns would hide what locks
    text = text if len(text) <= 400 else f"{text[:399]}…"
    return [f"- `{text}`", *(f"  - {line}" for line in describe_locks(statement))]


def main() -> None:
    """Write the page to the file named on the command line."""
    Path(sys.argv[1]).write_text(make_page())


if __name__ == "__main__":
    main()
