"""Our own revisions on a real server: what they really lock and rewrite, beside what the written history says."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from remit.migrations import run
from remit.migrations.history import make_page
from remit.migrations.lint.locks import Mode
from remit.migrations.lint.project import make_project
from remit.migrations.plan import PlannedRevision, make_plan, name_mode

ROOT = Path(__file__).parents[2]
MODES = {f"{name_mode(mode).title().replace(' ', '')}Lock": mode for mode in Mode}
LOCKS = """
SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.granted AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
"""
FILES = """
SELECT relname, pg_relation_filenode(oid) FROM pg_class
WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace
"""


@dataclass
class Seen:
    """What a revision did: the strongest locks on tables that were there before it, after each of its statements."""

    tables: set[str]
    steps: list[dict[str, Mode]] = field(default_factory=list)


@contextmanager
def watch(dsn: str) -> Iterator[Seen]:
    seen = Seen(set(read_files(dsn)))

    def look(_: Any, cursor: Any, *__: object) -> None:
        held: dict[str, Mode] = {}
        with cursor.connection.cursor() as probe:
            for table, mode in probe.execute(LOCKS).fetchall():
                if table in seen.tables and table != "alembic_version":
                    held[table] = max(MODES[mode], held.get(table, Mode.ACCESS_SHARE))
        seen.steps.append(held)

    event.listen(Engine, "after_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(Engine, "after_cursor_execute", look)


def read_files(dsn: str) -> dict[str, int]:
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute(FILES).fetchall())


def plan() -> list[PlannedRevision]:
    return make_plan(make_project(run.make_config(), (), "head"))


def said_locks(revision: PlannedRevision) -> dict[str, str]:
    """The strongest lock on each table within transactions, as the plan has it."""
    found: dict[str, Mode] = {}
    for statement in revision.statements:
        for lock in statement.locks if statement.transaction is not None else ():
            table, _, mode = lock.partition(": ")
            found[table] = max(Mode[mode.replace(" ", "_")], found.get(table, Mode.ACCESS_SHARE))
    return {table: name_mode(mode) for table, mode in found.items()}


def test_locks_and_rewrites_are_those_of_the_written_history(empty: str) -> None:
    for revision in plan():
        before = read_files(empty)
        with watch(empty) as seen:
            run.upgrade(empty, revision.id)
        strongest: dict[str, Mode] = {}
        for held in seen.steps:
            for table, mode in held.items():
                strongest[table] = max(mode, strongest.get(table, Mode.ACCESS_SHARE))
        felt = {table: name_mode(mode) for table, mode in strongest.items() if mode >= Mode.SHARE_UPDATE_EXCLUSIVE}
        said = {table: mode for table, mode in said_locks(revision).items() if table in seen.tables}
        assert felt == said, revision.id
        after = read_files(empty)
        rewritten = [name for name, file in before.items() if name in after and after[name] != file]
        assert rewritten == [], f"{revision.id} writes these anew: {rewritten}"


def test_nothing_takes_time_while_readers_or_writers_wait() -> None:
    for revision in plan():
        held: defaultdict[int, set[str]] = defaultdict(set)
        for statement in revision.statements:
            number = statement.transaction
            if number is None:
                continue
            held[number] |= {lock for lock in statement.locks if Mode[mode_of(lock)] >= Mode.SHARE}
            assert not (held[number] and statement.work), f"{revision.id}: {statement.sql}"


def mode_of(lock: str) -> str:
    return lock.partition(": ")[2].replace(" ", "_")


def test_the_written_history_is_current() -> None:
    written = (ROOT / "docs" / "migrations.md").read_text()
    assert written == make_page(), "run python -m remit.migrations.history docs/migrations.md"


def test_a_lock_that_the_plan_does_not_know_is_seen(empty_database: str) -> None:
    run.upgrade(empty_database, "0001")
    with watch(empty_database) as seen:
        run.upgrade(empty_database, "0002")
    assert {table for held in seen.steps for table, mode in held.items() if mode == Mode.ACCESS_EXCLUSIVE} == {"tasks"}
