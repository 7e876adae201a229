"""Dump and restore: everything comes back, or nothing changes; the data survives a new major version."""

import json
import stat
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from support.databases import OLDEST

from remit.cli import run_command
from remit.db.backup import dump_database, restore_database
from remit.db.embedded import EmbeddedPostgres
from remit.db.errors import BackupError, DataDirectoryError, WrongMajorVersionError
from remit.migrations import run, state
from remit.settings import Settings

_ROWS = """
SELECT 'tenants' t, to_jsonb(x) r FROM tenants x UNION ALL SELECT 'agents', to_jsonb(x) FROM agents x
UNION ALL SELECT 'tasks', to_jsonb(x) FROM tasks x UNION ALL SELECT 'events', to_jsonb(x) FROM events x
UNION ALL SELECT 'relationships', to_jsonb(x) FROM relationships x
UNION ALL SELECT 'jobs', to_jsonb(x) FROM procrastinate.procrastinate_jobs x ORDER BY 1, 2
"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint
WHERE contype <> 'n' AND connamespace IN ('public'::regnamespace, 'procrastinate'::regnamespace) ORDER BY 1, 2
"""
# The numbers of unlogged tables go with their data, as they do when the server crashes.
_SEQUENCES = """
SELECT schemaname, sequencename, last_value FROM pg_sequences
WHERE sequencename NOT LIKE 'stream_entries%' ORDER BY 1, 2
"""


def _fill(dsn: str) -> None:
    run.upgrade(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO tenants (id, name) VALUES (gen_random_uuid(), 'ä €')")
        connection.execute(
            "INSERT INTO agents (id, tenant_id, name, status, acp_type, creator_user_id, registration_metadata) "
            """SELECT gen_random_uuid(), id, 'a', 'Ready', 'sync', gen_random_uuid(), '{"a": [1, null, "\\\\n"]}' """
            "FROM tenants"
        )
        connection.execute(
            "INSERT INTO tasks (id, tenant_id, agent_id, status, creator_service_account_id) "
            "SELECT gen_random_uuid(), tenant_id, id, 'RUNNING', gen_random_uuid() FROM agents, generate_series(1, 50)"
        )
        connection.execute(
            "INSERT INTO events (id, tenant_id, task_id, agent_id) "
            "SELECT gen_random_uuid(), tenant_id, id, agent_id FROM tasks"
        )
        connection.execute(
            "INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id) "
            "SELECT 1, id, 1, 1, gen_random_uuid() FROM tasks"
        )
        connection.execute("INSERT INTO stream_entries (task_id, data) SELECT id, 'x' FROM tasks")
        connection.execute(
            "INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, status) VALUES ('q', 't', 'failed')"
        )


def _read(dsn: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(question.encode()).fetchall()


@pytest.fixture
def target(empty_database: str) -> Settings:
    """Settings that name an empty database of a server that is not the embedded one."""
    return Settings(database_url=SecretStr(empty_database))


def test_embedded_data_survives_a_new_major_version(data_dir: Path, tmp_path: Path) -> None:
    old = EmbeddedPostgres.start_blocking(data_dir, binaries=OLDEST)
    _fill(old.dsn)
    expected = {question: _read(old.dsn, question) for question in (_ROWS, _CONSTRAINTS, _SEQUENCES)}
    old.stop_blocking()

    settings, file = Settings(data_dir=data_dir, database_url=None), tmp_path / "remit.dump"
    with pytest.raises(WrongMajorVersionError):
        EmbeddedPostgres.start_blocking(data_dir)
    assert dump_database(settings, file) == file.stat().st_size
    (tmp_path / "broken.dump").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BackupError):
        restore_database(settings, tmp_path / "broken.dump")
    with pytest.raises(WrongMajorVersionError):  # an attempt that failed leaves the old data in use
        EmbeddedPostgres.start_blocking(data_dir)
    restore_database(settings, file)

    new = EmbeddedPostgres.start_blocking(data_dir)
    try:
        assert _read(new.dsn, "SELECT current_setting('server_version_num')::int / 10000") == [(18,)]
        assert {question: _read(new.dsn, question) for question in expected} == expected
        assert _read(new.dsn, "SELECT count(*) FROM stream_entries") == [(0,)]
        assert state.current(new.dsn) == state.head_revision()
    finally:
        new.stop_blocking()


def test_a_dump_is_private_and_leaves_no_parts_behind(database: str, tmp_path: Path) -> None:
    settings = Settings(database_url=SecretStr(database))
    dump_database(settings, tmp_path / "remit.dump")
    assert stat.S_IMODE((tmp_path / "remit.dump").stat().st_mode) == 0o600
    with pytest.raises(BackupError, match="choose another folder"):
        dump_database(settings, tmp_path / "absent" / "remit.dump")
    assert [path.name for path in tmp_path.iterdir()] == ["remit.dump"]


def test_a_database_that_is_not_empty_is_replaced_only_on_request(
    database: str, target: Settings, empty_database: str, tmp_path: Path
) -> None:
    _fill(database)
    file = tmp_path / "remit.dump"
    dump_database(Settings(database_url=SecretStr(database)), file)
    run.upgrade(empty_database)
    with pytest.raises(BackupError, match="add --replace"):
        restore_database(target, file)
    assert _read(empty_database, _ROWS) == []
    restore_database(target, file, replace=True)
    assert _read(empty_database, _ROWS) == _read(database, _ROWS)


def test_functions_alone_are_replaced_on_request_too(
    database: str, target: Settings, empty_database: str, tmp_path: Path
) -> None:
    file = tmp_path / "remit.dump"
    dump_database(Settings(database_url=SecretStr(database)), file)
    run.upgrade(empty_database)
    with psycopg.connect(empty_database) as connection:
        tables = connection.execute("SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'")
        connection.execute(f"DROP TABLE {', '.join(str(row[0]) for row in tables)} CASCADE".encode())
        connection.execute("DROP SCHEMA procrastinate CASCADE")
    with pytest.raises(BackupError, match="add --replace"):
        restore_database(target, file)
    restore_database(target, file, replace=True)
    assert state.current(empty_database) == state.head_revision()


def test_a_replacement_that_fails_changes_nothing(database: str, target: Settings, tmp_path: Path) -> None:
    settings, file = Settings(database_url=SecretStr(database)), tmp_path / "remit.dump"
    _fill(database)
    dump_database(settings, file)
    before = _read(database, _ROWS)
    # The head of the file is whole, its data is cut: the tables are dropped and made again before that shows.
    with file.open("r+b") as dump:
        dump.truncate(file.stat().st_size - 600)
    with pytest.raises(BackupError, match="the database is as it was"):
        restore_database(settings, file, replace=True)
    assert _read(database, _ROWS) == before


def test_tables_of_others_are_never_dropped(database: str, tmp_path: Path) -> None:
    settings = Settings(database_url=SecretStr(database))
    dump_database(settings, tmp_path / "remit.dump")
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE precious (id int)")
    with pytest.raises(BackupError, match="not Remit's \\(precious\\)"):
        restore_database(settings, tmp_path / "remit.dump", replace=True)


def test_restore_is_refused_while_the_embedded_server_is_in_use(data_dir: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=data_dir, database_url=None)
    server = EmbeddedPostgres.start_blocking(data_dir)
    try:
        run.upgrade(server.dsn)
        dump_database(settings, tmp_path / "remit.dump")
        with pytest.raises(DataDirectoryError, match="another Remit process uses"):
            restore_database(settings, tmp_path / "remit.dump", replace=True)
    finally:
        server.stop_blocking()


def test_the_commands(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REMIT_DATA_DIR", str(data_dir))
    monkeypatch.delenv("REMIT_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    head = state.head_revision()

    def call(*arguments: str, code: int = 0) -> str:
        ended = run_command(["db", *arguments])
        said = capsys.readouterr()
        assert ended == code, said.err
        return said.err if code else said.out

    upgraded = json.loads(call("upgrade", "--json"))
    assert (upgraded["before"], upgraded["after"], upgraded["left"]) == (None, head, [])
    assert "already" in call("upgrade")
    assert json.loads(call("current", "--json")) == {"current": head, "head": head, "up_to_date": True}
    assert json.loads(call("history", "--json"))[-1]["revision"] == head
    assert "Creator columns of tasks" in call("history")
    assert json.loads(call("dump", "remit.dump", "--json"))["bytes"] > 1000
    assert "not empty" in call("restore", "remit.dump", code=2)
    assert json.loads(call("restore", "remit.dump", "--replace", "--json"))["revision"] == head
    assert "not running" in call("stop")
    for name in ("upgrade", "current", "history", "dump", "restore", "stop"):
        assert f"$ remit db {name}" in call(name, "--help")
    assert [path.name for path in tmp_path.iterdir()] == ["remit.dump"]
