"""Revisions that stop in the middle can be run again, and two migrators do not get in each other's way."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from migrations.test_killed import NEWEST
from sqlalchemy import Engine, event

from remit.db.errors import DatabaseSetupError, MigrationError
from remit.migrations import run, state
from remit.migrations.lock import hold_migration_lock
from remit.migrations.runner.sql import read_words
from remit.migrations.state import check_revision

CREATOR_REVISIONS = ["0002", "0003", "0004", "0005", "0006", "0007"]


class InterruptedMigrationError(Exception):
    """Stands for the process being killed."""


@contextmanager
def interrupt_after(statements: int, *, keep: bool) -> Iterator[list[str]]:
    """Stop a migration after so many of its statements; `keep` commits what a transaction had done until then."""
    seen: list[str] = []

    def count(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        if read_words(statement, 1)[0].upper() not in ("ALTER", "CREATE", "DO", "DROP", "INSERT", "UPDATE"):
            return
        seen.append(statement)
        if len(seen) == statements:
            if keep:
                cursor.connection.commit()
            raise InterruptedMigrationError

    event.listen(Engine, "after_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(Engine, "after_cursor_execute", count)


def test_every_revision_runs_again_after_an_interruption_at_each_statement(empty_database: str) -> None:
    # The newest are killed for good in test_killed.py.
    _interrupt_each(empty_database, [revision.id for revision in run.history()][:-NEWEST], keep=False)


def test_the_steps_for_tables_in_use_do_not_rely_on_their_transaction(empty: str) -> None:
    run.upgrade(empty, "0001")
    _interrupt_each(empty, CREATOR_REVISIONS, keep=True)


def _interrupt_each(dsn: str, revisions: list[str], *, keep: bool) -> None:
    """Run each revision again and again, each time as far as its next statement, then to its end."""
    for revision in revisions:
        for statements in itertools.count(1):
            with interrupt_after(statements, keep=keep) as seen, suppress(InterruptedMigrationError):
                run.upgrade(dsn, revision)
            if len(seen) < statements:
                break
        assert statements > 1, revision  # one statement at least and the note of the revision were interrupted
        assert state.current(dsn) == revision
        assert _count_invalid(dsn) == 0


def test_a_leftover_invalid_index_is_built_again(empty: str) -> None:
    run.upgrade(empty, "0003")
    with psycopg.connect(empty, autocommit=True) as connection:
        _insert_tasks(connection, 2)
        # The way an invalid index comes about: a concurrent build that fails half way, here on duplicates.
        connection.execute("UPDATE tasks SET creator_user_id = '00000000-0000-7000-8000-000000000001'")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(
                "CREATE UNIQUE INDEX CONCURRENTLY ix_tasks_creator_user_id ON tasks (creator_user_id) "
                "WHERE creator_user_id IS NOT NULL"
            )
    assert _count_invalid(empty) == 1
    run.upgrade(empty)
    assert _count_invalid(empty) == 0
    with psycopg.connect(empty) as connection:
        row = connection.execute("SELECT pg_get_indexdef('ix_tasks_creator_user_id'::regclass)").fetchone()
    assert row is not None
    assert "UNIQUE" not in row[0]


def test_two_migrators_at_once_through_a_concurrent_build(empty: str) -> None:
    run.upgrade(empty, "0003")
    code = "import sys; from remit.migrations.run import upgrade; upgrade(sys.argv[1])"
    with psycopg.connect(empty) as writer, psycopg.connect(empty, autocommit=True) as watcher:
        writer.execute("LOCK TABLE tasks IN ROW EXCLUSIVE MODE")  # what an open insert holds; the build waits for it
        migrators = [
            subprocess.Popen([sys.executable, "-c", code, empty], stderr=subprocess.PIPE, text=True) for _ in range(2)
        ]
        try:
            _wait_for(
                watcher,
                "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() "
                "AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'",
            )
            _wait_for(
                watcher,
                "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() "
                "AND query LIKE 'SELECT pg_try_advisory_lock%' AND state = 'idle'",
            )
            writer.rollback()
            errors = [migrator.communicate(timeout=60)[1] for migrator in migrators]
        finally:
            for migrator in migrators:
                migrator.kill()
                migrator.wait()
    assert ([migrator.returncode for migrator in migrators], errors) == ([0, 0], ["", ""])
    assert state.current(empty) == state.head_revision()
    assert _count_invalid(empty) == 0


def test_a_migrator_that_waits_too_long_says_so(empty: str) -> None:
    with (
        hold_migration_lock(empty),
        pytest.raises(MigrationError, match="another migration"),
        hold_migration_lock(empty, wait_seconds=0.3),
    ):
        pytest.fail("two hold the lock")


def test_time_limits_are_back_after_a_concurrent_build(empty: str) -> None:
    run.upgrade(empty, "0003")
    seen: list[tuple[str, str]] = []

    def look(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        with connection.connection.cursor() as probe:
            probe.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
            seen.append((statement, str(probe.fetchone())))

    event.listen(Engine, "before_cursor_execute", look)
    try:
        run.upgrade(empty, "0004")
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert {limits for statement, limits in seen if statement.startswith("CREATE INDEX")} == {"('0', '0')"}
    assert seen[-1] == (seen[-1][0], "('3s', '30s')")
    assert "alembic_version" in seen[-1][0]


def test_downgrade_refuses_to_forget_creators(empty: str) -> None:
    run.upgrade(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        _insert_tasks(connection, 1)
        connection.execute("UPDATE tasks SET creator_user_id = gen_random_uuid()")
        with pytest.raises(MigrationError, match="tasks: rows know their creators"):
            run.downgrade(empty, "0001")
        assert state.current(empty) == "0002"
        connection.execute("UPDATE tasks SET creator_user_id = NULL")
    run.downgrade(empty, "0001")
    run.upgrade(empty)
    assert state.current(empty) == state.head_revision()


def test_a_newer_schema_is_left_to_newer_code_unless_it_says_that_this_code_works(empty: str) -> None:
    run.upgrade(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        assert run.upgrade(empty).after == ("9999",)
        check_revision(empty)
        connection.execute("UPDATE schema_compatibility SET compatible_since = '9998'")
        with pytest.raises(DatabaseSetupError, match="since revision 9998"):
            check_revision(empty)
        with pytest.raises(MigrationError, match="migrated by a newer one"):
            run.upgrade(empty)
        connection.execute("UPDATE alembic_version SET version_num = '0019'")
        with pytest.raises(DatabaseSetupError, match="run `remit db upgrade`"):
            check_revision(empty)


def _insert_tasks(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute("INSERT INTO tenants (id, name) VALUES (gen_random_uuid(), 'a')")
    connection.execute(
        "INSERT INTO agents (id, tenant_id, name, status, acp_type) "
        "SELECT gen_random_uuid(), id, 'a', 'Ready', 'sync' FROM tenants"
    )
    connection.execute(
        "INSERT INTO tasks (id, tenant_id, agent_id, status) SELECT gen_random_uuid(), tenant_id, id, 'RUNNING' "
        "FROM agents, generate_series(1, %s)",
        [number],
    )


def _count_invalid(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT FROM pg_index WHERE NOT indisvalid").rowcount


def _wait_for(connection: psycopg.Connection[Any], question: str) -> None:
    for _ in range(600):
        row = connection.execute(question.encode()).fetchone()
        if row is not None and row[0]:
            return
        time.sleep(0.05)
    pytest.fail(f"never came true: {question}")
