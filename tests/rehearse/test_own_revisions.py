"""Our own history on tables with rows: what each statement locks, in which order, and that nothing is written anew.

The newest revisions by default; CI sets REMIT_REHEARSE_FROM=base for all of them, which takes a minute or two.
"""

import os
from pathlib import Path

import pytest

from remit.migrations import run, state
from remit.migrations.lint.locks import Mode
from remit.migrations.lint.project import make_project
from remit.migrations.plan import PlannedRevision, make_plan, name_mode
from remit.migrations.rehearse.model import RevisionReport, StatementReport
from remit.migrations.rehearse.options import Options
from remit.migrations.rehearse.project import open_project
from remit.migrations.rehearse.run import rehearse

ROOT = Path(__file__).parents[2]
MODES = {f"{name_mode(mode).title().replace(' ', '')}Lock": mode for mode in Mode}
NEWEST = 3
FROM = os.environ.get("REMIT_REHEARSE_FROM") or state.known_revisions()[-NEWEST - 1]
Locks = dict[str, str]


@pytest.fixture(scope="module")
def reports() -> dict[str, RevisionReport]:
    options = Options(rows=40, retries=False, measured=False)
    report = rehearse(open_project(ROOT / "alembic.ini", f"{FROM}:head"), options, lambda _: None)
    return {revision.revision: revision for revision in report.revisions}


def find_locks(statement: StatementReport, tables: set[str]) -> Locks:
    """The strongest lock that a statement took on each table, of those that writers or other migrations feel."""
    found: dict[str, Mode] = {}
    for lock in statement.locks:
        if not lock.inherited and lock.relation in tables:
            found[lock.relation] = max(MODES[lock.mode], found.get(lock.relation, Mode.ACCESS_SHARE))
    return {table: name_mode(mode) for table, mode in found.items() if mode >= Mode.SHARE_UPDATE_EXCLUSIVE}


def said_locks(plan: PlannedRevision) -> list[tuple[str, Locks]]:
    """The locks that each statement takes anew, by the plan; what its transaction holds already it does not take."""
    found = []
    held: set[tuple[int | None, str, str]] = set()
    for statement in plan.statements:
        locks = dict(lock.split(": ", 1) for lock in statement.locks)
        new = {
            table: mode
            for table, mode in locks.items()
            if statement.transaction is None or (statement.transaction, table, mode) not in held
        }
        held |= {(statement.transaction, table, mode) for table, mode in new.items()}
        if new:
            found.append((" ".join(statement.sql.split()), new))
    return found


def test_each_statement_locks_what_the_plan_says_in_its_order(reports: dict[str, RevisionReport]) -> None:
    plans = make_plan(make_project(run.make_config(), () if FROM == "base" else (FROM,), "head"))
    assert len(plans) >= NEWEST
    assert [plan.id for plan in plans] == list(reports)
    for plan in plans:
        report = reports[plan.id]
        assert report.error is None, plan.id
        said = said_locks(plan)
        tables = {table for _, locks in said for table in locks} | report.rows.keys()
        felt = [
            (" ".join(statement.sql.split()), locks)
            for statement in report.statements
            if (locks := find_locks(statement, tables))
        ]
        assert felt == said, plan.id


def test_no_table_or_index_is_written_anew(reports: dict[str, RevisionReport]) -> None:
    rewritten = {name: item.rewritten for name, report in reports.items() for item in report.statements}
    assert {name: found for name, found in rewritten.items() if found} == {}


def test_tables_that_were_there_are_rehearsed_with_rows(reports: dict[str, RevisionReport]) -> None:
    assert all(count >= 40 for report in reports.values() for count in report.rows.values())
