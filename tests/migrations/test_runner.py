"""The runner on tables in use: who is in the way, what is tried again, and what is left behind."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from migrations.projects import make_project

from remit.cli import run_command
from remit.db.errors import MigrationError
from remit.migrations import run, state
from remit.migrations.runner import run as runner
from remit.migrations.runner.control import Control
from remit.migrations.runner.model import Limits, LockedError
from remit.migrations.runner.project import upgrade_project

QUICK = Limits(lock_timeout=0.2, attempts=30, pause=0.01, longest_pause=0.05, turn=30)
FEW = Limits(lock_timeout=0.2, attempts=2, pause=0.01, longest_pause=0.05, turn=30)
BUILD = """\
with op.get_context().autocommit_block():
    op.execute("SET lock_timeout = '300ms'")
    op.execute("CREATE INDEX CONCURRENTLY {guard} ix_users_age ON users (age)")
    op.execute("RESET lock_timeout")"""
NOT_VALID = 'op.execute("ALTER TABLE users ADD CONSTRAINT ck_age CHECK (age >= 0) NOT VALID")'

Capture = pytest.CaptureFixture[str]


class Teller:
    """Keeps what the runner says; at the first line with a certain text, ends somebody's transaction."""

    def __init__(self, text: str = "", blocker: psycopg.Connection[tuple[object, ...]] | None = None) -> None:
        self.lines: list[str] = []
        self._text = text
        self._blocker = blocker

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if self._blocker is not None and self._text in line:
            self._blocker.rollback()

    def find(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]


@contextmanager
def hold(dsn: str, statement: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A session that holds what a statement locks."""
    with psycopg.connect(dsn, application_name="report") as connection:
        connection.execute(statement.encode())
        yield connection


def ask(dsn: str, question: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def count_invalid(dsn: str) -> object:
    return ask(dsn, "SELECT count(*) FROM pg_index WHERE NOT indisvalid")


def test_who_is_in_the_way_is_named_and_the_statement_is_tried_again(empty: str) -> None:
    run.upgrade(empty, "0001")
    with hold(empty, "SELECT count(*) FROM tasks") as user:
        pid = user.info.backend_pid
        tell = Teller("blocked by", user)
        outcome = run.upgrade(empty, "0002", QUICK, tell)
    assert outcome.after == ("0002",)
    assert tell.find("got no lock: ALTER TABLE tasks ADD COLUMN")
    [blocker, *_] = tell.find("blocked by")
    assert f"pid {pid} (report, remit, idle in transaction" in blocker
    assert blocker.endswith("SELECT count(*) FROM tasks")


def test_attempts_end_and_the_next_run_goes_on(empty: str) -> None:
    run.upgrade(empty, "0001")
    with (
        hold(empty, "SELECT count(*) FROM agents"),
        pytest.raises(LockedError, match=r"revision 0005 stopped: .* in 2 attempts") as raised,
    ):
        run.upgrade(empty, "head", FEW)
    assert "(report, remit, idle in transaction" in str(raised.value)
    assert state.current(empty) == "0004"
    outcome = run.upgrade(empty)
    assert (outcome.before, outcome.after) == (("0004",), (state.head_revision(),))
    assert outcome.left == ()


def test_locks_are_given_back_before_a_pause(empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = 'op.execute("ALTER TABLE users ADD COLUMN a int")\nop.execute("ALTER TABLE orders ADD COLUMN a int")'
    config = make_project(tmp_path, empty, both)
    upgrade_project(config, "0001", QUICK, Teller())
    with hold(empty, "SELECT count(*) FROM orders") as user:
        pauses: list[object] = []

        def pause(_: float) -> None:
            pauses.append(ask(empty, "SELECT count(*) FROM users"))  # would wait if the pause held the lock
            user.rollback()

        monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=pause))
        tell = Teller()
        outcome = upgrade_project(config, "head", QUICK, tell)
    assert pauses[0] == 100
    assert tell.find("starting the revision again")
    assert outcome.after == ("0002",)


@pytest.mark.parametrize("hidden", ["", "ALTER TABLE users ADD COLUMN IF NOT EXISTS more int;"], ids=["rows", "block"])
def test_what_nobody_can_see_from_outside_waits_no_longer(empty: str, tmp_path: Path, hidden: str) -> None:
    change = f"DO $$ BEGIN {hidden} UPDATE users SET age = 1 WHERE id = 1; END $$"
    config = make_project(tmp_path, empty, f"op.execute({change!r})")
    upgrade_project(config, "0001", QUICK, Teller())
    with hold(empty, "UPDATE users SET age = 2 WHERE id = 1") as user:
        tell = Teller("blocked by", user)
        upgrade_project(config, "head", QUICK, tell)
    assert tell.find("starting the revision again")
    assert ask(empty, "SELECT age FROM users WHERE id = 1") == 1


@pytest.mark.parametrize("guard", ["", "IF NOT EXISTS"])
def test_an_invalid_index_of_a_failed_attempt_is_dropped_first(empty: str, tmp_path: Path, guard: str) -> None:
    config = make_project(tmp_path, empty, BUILD.format(guard=guard))
    upgrade_project(config, "0001", QUICK, Teller())
    with hold(empty, "UPDATE users SET age = 2 WHERE id = 1") as user:
        tell = Teller("trying again", user)
        outcome = upgrade_project(config, "head", QUICK, tell)
    assert tell.find("got no lock: CREATE INDEX CONCURRENTLY")
    assert tell.find("dropped the invalid index public.ix_users_age")
    assert outcome.left == ()
    assert count_invalid(empty) == 0
    assert ask(empty, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_users_age'::regclass") is True


def test_an_invalid_index_of_an_earlier_run_is_not_taken_for_a_success(empty: str, tmp_path: Path) -> None:
    config = make_project(tmp_path, empty, BUILD.format(guard="IF NOT EXISTS"))
    upgrade_project(config, "0001", QUICK, Teller())
    with psycopg.connect(empty, autocommit=True) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_users_age ON users (age)")
    assert count_invalid(empty) == 1
    upgrade_project(config, "head", QUICK, Teller())
    assert count_invalid(empty) == 0


def test_only_an_index_that_was_there_can_be_gone(empty_database: str, tmp_path: Path) -> None:
    made = 'op.create_index("ix_users_age", "users", ["age"])'
    drop = 'with op.get_context().autocommit_block():\n    op.execute("DROP INDEX CONCURRENTLY ix_users_ag")'
    config, tell = make_project(tmp_path, empty_database, made, drop), Teller()
    with pytest.raises(MigrationError, match="no earlier revision names it"):
        upgrade_project(config, "head", QUICK, tell)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("DROP INDEX ix_users_age")  # as a run that was interrupted had done it
    file = tmp_path / "migrations" / "versions" / "0003.py"
    file.write_text(file.read_text().replace("ix_users_ag", "ix_users_age"))
    assert upgrade_project(config, "head", QUICK, tell).after == ("0003",)
    assert tell.find("was gone already, by an interrupted run")


def test_what_is_left_behind_ends_with_one(empty: str, tmp_path: Path, capsys: Capture) -> None:
    config = make_project(tmp_path, empty, NOT_VALID)
    upgrade_project(config, "0001", QUICK, Teller())
    with psycopg.connect(empty, autocommit=True) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY mine ON users (age)")
    code = run_command(["db", "upgrade", "--config", str(config), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (document["before"], document["after"], document["revisions"]) == ("0001", "0002", ["0002"])
    index, constraint = document["left"]
    assert "index public.mine on users is invalid" in index
    assert 'ALTER TABLE users VALIDATE CONSTRAINT "ck_age"' in constraint
    assert run_command(["db", "upgrade", "--config", str(config)]) == 1  # the index is still there
    assert "Note: constraint ck_age" in capsys.readouterr().out


def test_a_swallowed_error_is_no_success(empty: str, tmp_path: Path, capsys: Capture) -> None:
    config = make_project(tmp_path, empty, 'op.execute("ALTER TABLE nothing ADD COLUMN a int")')
    env = tmp_path / "migrations" / "env.py"
    body = "            context.run_migrations()\n"
    assert body in env.read_text()
    swallowing = f"            try:\n    {body}            except Exception:\n                pass\n"
    env.write_text(env.read_text().replace(body, swallowing))
    assert run_command(["db", "upgrade", "--config", str(config)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        "error: the run ended without an error, but the database is at 0001 and the code needs 0002"
    )


def test_an_env_that_runs_on_asyncpg(empty: str, tmp_path: Path) -> None:
    config = make_project(
        tmp_path, empty, 'op.execute("ALTER TABLE users ADD COLUMN a int")', BUILD.format(guard=""), driver="asyncpg"
    )
    env = tmp_path / "migrations" / "env.py"
    env.write_text(ASYNC_ENV)
    upgrade_project(config, "0001", QUICK, Teller())
    with hold(empty, "SELECT count(*) FROM users") as user:
        tell = Teller("blocked by", user)
        outcome = upgrade_project(config, "head", QUICK, tell)
    assert outcome.after == ("0003",)
    assert tell.find("got no lock: ALTER TABLE users")
    assert count_invalid(empty) == 0


ASYNC_ENV = """\
import asyncio
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine


def migrate(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def run():
    engine = create_async_engine(context.config.get_main_option("sqlalchemy.url"))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


asyncio.run(run())
"""


def test_a_dry_run_shows_locks_and_changes_nothing(empty: str, tmp_path: Path, capsys: Capture) -> None:
    build = BUILD.format(guard="")
    config = make_project(tmp_path, empty, NOT_VALID, build)
    assert run_command(["db", "upgrade", "--config", str(config), "--dry-run"]) == 0
    assert "0001  " in capsys.readouterr().out
    assert ask(empty, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    upgrade_project(config, "0002", QUICK, Teller())
    assert run_command(["db", "upgrade", "--config", str(config), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "0002" not in out
    assert "outside a transaction" in out
    assert "locks users: SHARE UPDATE EXCLUSIVE" in out
    assert "takes time: builds an index over it (users)" in out
    assert ask(empty, "SELECT version_num FROM alembic_version") == "0002"


def test_locks_that_never_come_end_with_one(empty: str, tmp_path: Path, capsys: Capture) -> None:
    config = make_project(tmp_path, empty, NOT_VALID)
    upgrade_project(config, "0001", QUICK, Teller())
    arguments = ["db", "upgrade", "--config", str(config), "--lock-timeout", "0.1", "--attempts", "1"]
    with hold(empty, "SELECT count(*) FROM users"):
        assert run_command(arguments) == 1
    err = capsys.readouterr().err
    assert "blocked by pid" in err
    assert err.splitlines()[-1].startswith("error: revision 0002 stopped: `ALTER TABLE users")
    assert err.splitlines()[-1].endswith("what is done stays done")


def break_ini(config: Path) -> None:
    config.unlink()


def garble_ini(config: Path) -> None:
    config.write_text("hello")


def break_import(config: Path) -> None:
    (config.parent / "migrations" / "versions" / "0009.py").write_text("import nowhere_to_be_found\n")


def use_sqlite(config: Path) -> None:
    url = next(line for line in config.read_text().splitlines() if line.startswith("sqlalchemy.url"))
    config.write_text(config.read_text().replace(url, "sqlalchemy.url = sqlite://"))


def use_nothing(config: Path) -> None:
    url = next(line for line in config.read_text().splitlines() if line.startswith("sqlalchemy.url"))
    config.write_text(config.read_text().replace(url, "sqlalchemy.url = postgresql+psycopg://127.0.0.1:1/none"))


def run_nothing(config: Path) -> None:
    (config.parent / "migrations" / "env.py").write_text("")


def fail_in_revision(config: Path) -> None:
    file = config.parent / "migrations" / "versions" / "0002.py"
    file.write_text(file.read_text().replace("    pass\n", "    raise LookupError('the moon is missing')\n", 1))


def add_head(config: Path) -> None:
    versions = config.parent / "migrations" / "versions"
    (versions / "0009.py").write_text((versions / "0002.py").read_text().replace('"0002"', '"0009"'))


def add_again(config: Path) -> None:
    file = config.parent / "migrations" / "versions" / "0002.py"
    file.write_text(
        file.read_text().replace("    pass\n", "    op.execute('ALTER TABLE users ADD COLUMN age int')\n", 1)
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (break_ini, "there is no"),
        (garble_ini, "is no configuration of Alembic"),
        (break_import, "nowhere_to_be_found"),
        (use_sqlite, "database is sqlite"),
        (use_nothing, "127.0.0.1"),
        (run_nothing, "ran no migrations"),
        (fail_in_revision, "the moon is missing"),
        (add_head, "or `heads` for all"),
        (add_again, "if an earlier run was interrupted it did this"),
    ],
)
def test_cannot_run(empty_database: str, tmp_path: Path, capsys: Capture, spoil: object, said: str) -> None:
    config = make_project(tmp_path, empty_database, "pass")
    assert callable(spoil)
    spoil(config)
    assert run_command(["db", "upgrade", "--config", str(config)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert said in captured.err.splitlines()[-1]


def test_a_lost_lock_stops_the_run(empty: str, tmp_path: Path) -> None:
    holder = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ExclusiveLock' AND locktype = 'advisory'"
    ends = f'op.get_bind().exec_driver_sql("{holder}")\nop.execute("SELECT pg_sleep(1.5)")'
    config = make_project(tmp_path, empty, ends, 'op.execute("ALTER TABLE users ADD COLUMN a int")')
    with pytest.raises(MigrationError, match="keeps other migrators out was lost"):
        upgrade_project(config, "head", QUICK, Teller())
    assert ask(empty, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'a'") == 0


def test_the_turn_is_waited_for(empty: str, tmp_path: Path) -> None:
    config = make_project(tmp_path, empty)
    with Control.open(empty, QUICK, Teller()), pytest.raises(MigrationError, match="another migration"):
        upgrade_project(config, "head", Limits(turn=0.3), Teller())
    upgrade_project(config, "head", QUICK, Teller())
