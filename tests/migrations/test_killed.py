"""A migrator whose process is killed, with a statement at the server that nobody waits for any more."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from migrations.killing import Killer, migrate_own, migrate_project, open_killer
from migrations.projects import make_project
from support.databases import make_database

from remit.db.embedded import EmbeddedPostgres
from remit.db.errors import MigrationError
from remit.migrations import run, state
from remit.migrations.rehearse.retry import Shape, read_shape
from remit.migrations.runner.control import MARK_SESSION, Control
from remit.migrations.runner.model import Limits
from remit.migrations.runner.project import upgrade_project

NEWEST = 3
# As `alembic` writes them: nothing here says that it may have been done before.
BUILD = """\
with op.get_context().autocommit_block():
    op.create_index("ix_users_age", "users", ["age"], postgresql_concurrently=True)
    op.create_index("ix_kinds", "users", ["kind", sa.text("lower(name)")], postgresql_concurrently=True,
                    postgresql_where=sa.text("kind = 'a'"))"""
ODD = [
    """\
op.execute("CREATE TYPE mood AS ENUM ('sad')")
op.add_column("users", sa.Column("kind", sa.String(10)))
op.add_column("users", sa.Column("name", sa.String(10)))""",
    BUILD,
    """\
with op.get_context().autocommit_block():
    op.drop_index("ix_kinds", "users", postgresql_concurrently=True)
    op.execute("ALTER TYPE mood ADD VALUE 'glad'")""",
    'op.execute("ALTER TABLE users ADD CONSTRAINT ck_age CHECK (age >= 0) NOT VALID")',
    'op.execute("ALTER TABLE users VALIDATE CONSTRAINT ck_age")',
    """\
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE orders DROP CONSTRAINT IF EXISTS ck_total")
    op.execute("ALTER TABLE orders ADD CONSTRAINT ck_total CHECK (total > 0) NOT VALID")
    op.execute("ALTER TABLE orders VALIDATE CONSTRAINT ck_total")""",
]

SENT = [
    "CREATE INDEX CONCURRENTLY ix_users_age ON users (age)",
    "CREATE INDEX CONCURRENTLY ix_kinds ON users (kind, lower(name)) WHERE kind = 'a'",
    "DROP INDEX CONCURRENTLY ix_kinds",
    "ALTER TYPE mood ADD VALUE 'glad'",
    "ALTER TABLE users ADD CONSTRAINT ck_age CHECK (age >= 0) NOT VALID",
    "ALTER TABLE users VALIDATE CONSTRAINT ck_age",
    "ALTER TABLE orders DROP CONSTRAINT IF EXISTS ck_total",
    "ALTER TABLE orders ADD CONSTRAINT ck_total CHECK (total > 0) NOT VALID",
    "ALTER TABLE orders VALIDATE CONSTRAINT ck_total",
]


@pytest.fixture
def killer(empty_database: str) -> Iterator[Killer]:
    """A killer for an empty database."""
    with open_killer(empty_database) as opened:
        yield opened


def read(dsn: str) -> Shape:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return read_shape(connection)


def test_our_newest_revisions_run_again_after_a_kill_at_each_statement(killer: Killer, database: str) -> None:
    run.upgrade(killer.dsn, state.known_revisions()[-NEWEST - 1])
    killed = killer.kill_at_each(partial(migrate_own, killer.dsn))
    assert sum(statement.startswith("UPDATE alembic_version") for statement in killed) == NEWEST
    assert len(killed) >= 3 * NEWEST
    assert read(killer.dsn) == read(database)


def test_another_project_runs_again_after_a_kill_at_each_statement(
    killer: Killer, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    config = make_project(tmp_path / "killed", killer.dsn, *ODD)
    upgrade_project(config, "0002", Limits(), lambda _: None)
    killed = killer.kill_at_each(partial(migrate_project, config))
    assert [
        statement for statement in killed if statement.startswith(("CREATE INDEX", "DROP INDEX", "ALTER T"))
    ] == SENT
    with make_database(postgres) as whole:
        upgrade_project(make_project(tmp_path / "whole", whole, *ODD), "head", Limits(), lambda _: None)
        assert read(killer.dsn) == read(whole)


def test_a_build_ends_with_its_migrator_and_the_next_one_waits_for_that(killer: Killer, tmp_path: Path) -> None:
    config = make_project(tmp_path, killer.dsn, ODD[0], BUILD)
    upgrade_project(config, "0002", Limits(), lambda _: None)
    with psycopg.connect(killer.dsn) as writer, psycopg.connect(killer.dsn, autocommit=True) as watcher:
        writer.execute("UPDATE users SET age = 2 WHERE id = 1")  # the build waits for this transaction
        assert killer.run(partial(migrate_project, config), lambda _, sent: sent.startswith("CREATE INDEX")) is not None
        [session] = wait_for(
            watcher, "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()"
        )
        killer.start(partial(migrate_project, config))
        wait_for(watcher, "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", session)
        writer.rollback()
        killer.finish()
    assert any("dropped the invalid index public.ix_users_age" in line for line in killer.lines)


def test_a_rename_to_a_name_that_is_taken_is_not_passed_over(empty_database: str, tmp_path: Path) -> None:
    types = "op.execute(\"CREATE TYPE mood AS ENUM ('sad'); CREATE TYPE feeling AS ENUM ('sad')\")"
    rename = 'with op.get_context().autocommit_block():\n    op.execute("ALTER TYPE mood RENAME TO feeling")'
    config = make_project(tmp_path, empty_database, types, rename)
    with pytest.raises(MigrationError, match='type "feeling" already exists'):
        upgrade_project(config, "head", Limits(), lambda _: None)


def test_a_session_that_outlives_its_migrator_is_named(empty_database: str) -> None:
    lines: list[str] = []
    with psycopg.connect(empty_database, autocommit=True, application_name="gone") as session:
        session.execute(MARK_SESSION.encode())
        pid = session.info.backend_pid
        with (
            pytest.raises(MigrationError, match=rf"gone left .* pg_terminate_backend\({pid}\)"),
            Control.open(empty_database, Limits(turn=0.8), lines.append),
        ):
            pytest.fail("two migrators at once")
    assert lines == [
        "waiting for what an interrupted migrator left running",
        f"  pid {pid} (gone, remit, idle): {MARK_SESSION}",
    ]


def wait_for(connection: psycopg.Connection[tuple[object, ...]], question: str, *values: object) -> tuple[object, ...]:
    for _ in range(600):
        row = connection.execute(question.encode(), values).fetchone()
        if row is not None:
            return row
        time.sleep(0.05)
    pytest.fail(f"never came true: {question}")
