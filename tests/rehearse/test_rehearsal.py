"""Hazards and their safe twins, really run: what each locks, writes anew and leaves behind when it is interrupted."""

from collections.abc import Mapping

import pytest
from rehearse.conftest import make_project

from remit.migrations.rehearse.model import RevisionReport, StatementReport
from remit.migrations.rehearse.options import Options
from remit.migrations.rehearse.project import open_project
from remit.migrations.rehearse.run import rehearse

BLOCKS_READERS = "AccessExclusiveLock"
# Each is a transaction of its own, so that its locks are its own.
STATEMENTS = {
    "rewrite": "ALTER TABLE users ALTER COLUMN age TYPE bigint",
    "widen": "ALTER TABLE users ALTER COLUMN email TYPE varchar(200)",
    "index": "CREATE INDEX ix_users_age ON users (age)",
    "index_beside": "CREATE INDEX CONCURRENTLY ix_users_email ON users (email)",
    "check": "ALTER TABLE users ADD CONSTRAINT ck_age CHECK (age >= 0)",
    "check_not_valid": "ALTER TABLE users ADD CONSTRAINT ck_id CHECK (id > 0) NOT VALID",
    "validate": "ALTER TABLE users VALIDATE CONSTRAINT ck_id",
    "key": "ALTER TABLE orders ADD CONSTRAINT fk_user FOREIGN KEY (user_id) REFERENCES users (id)",
    "key_not_valid": "ALTER TABLE orders ADD CONSTRAINT fk_again FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID",
    "truncate": "TRUNCATE events",
    "backfill": "UPDATE users SET name = coalesce(email, '')",
}
BATCHES = """
    bind = op.get_bind()
    while bind.execute(sa.text(
        "UPDATE users SET name = '' WHERE id IN (SELECT id FROM users WHERE name IS DISTINCT FROM '' LIMIT 100)"
    )).rowcount:
        pass
"""
APART = {
    "statements": "with op.get_context().autocommit_block():\n"
    + "".join(f"    op.execute({statement!r})\n" for statement in STATEMENTS.values())
    + BATCHES.strip("\n"),
    "readers_wait": """op.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.5)")""",
    "writers_wait": """op.execute("LOCK TABLE users IN SHARE MODE; SELECT pg_sleep(0.5)")""",
}
INTERRUPTED = {
    "half_committed": """
op.add_column("users", sa.Column("city", sa.Text))
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY ix_users_city ON users (city)")
""",
    "invalid_passes": """
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_orders_status ON orders (status)")
""",
    "repeatable": """
op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS street text")
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_users_street")
    op.execute("CREATE INDEX CONCURRENTLY ix_users_street ON users (street)")
""",
    "required": 'op.add_column("users", sa.Column("required", sa.Text, nullable=False))',
}

Reports = Mapping[str, RevisionReport]


def run(folder: pytest.TempPathFactory, revisions: Mapping[str, str], *, retries: bool) -> Reports:
    config = make_project(folder.mktemp("rehearsal") / "project", revisions)
    options = Options(rows=400, baseline_seconds=0.1, retries=retries)
    report = rehearse(open_project(config, "0001:heads"), options, lambda _: None)
    return {revision.revision: revision for revision in report.revisions}


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Statements looked at one by one."""
    return run(tmp_path_factory, APART, retries=False)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Revisions that were ended after and during their statements."""
    return run(tmp_path_factory, INTERRUPTED, retries=True)


def find(report: RevisionReport, text: str) -> StatementReport:
    """The statement that holds a text."""
    [found] = [statement for statement in report.statements if text in statement.sql]
    return found


def pick(apart: Reports, name: str) -> StatementReport:
    """One of the statements, by its name."""
    [found] = [statement for statement in apart["statements"].statements if statement.sql == STATEMENTS[name]]
    return found


def modes(statement: StatementReport, table: str) -> set[str]:
    """In which modes a statement locked a table itself."""
    return {lock.mode for lock in statement.locks if lock.relation == table and not lock.inherited}


def test_all_are_rehearsed_on_full_tables_beside_readers_and_writers(apart: Reports) -> None:
    assert list(apart) == list(APART)
    assert {report.error for report in apart.values()} == {None}
    assert {count for report in apart.values() for count in report.rows.values()} == {400}
    for report in apart.values():
        assert report.noise is not None
        assert not report.probe_errors
        assert {request.role for request in report.requests} == {"reader", "writer", "control"}


def test_a_changed_type_writes_the_table_anew_and_a_longer_one_does_not(apart: Reports) -> None:
    rewrite = pick(apart, "rewrite")
    assert rewrite.rewritten == ["ix_users_name", "users", "users_pkey"]
    assert BLOCKS_READERS in modes(rewrite, "users")
    assert rewrite.wal_bytes > 0
    widen = pick(apart, "widen")
    assert not widen.rewrite
    assert modes(widen, "users") == {BLOCKS_READERS}


def test_a_truncated_table_is_emptied_and_not_written_anew(apart: Reports) -> None:
    truncate = pick(apart, "truncate")
    assert truncate.emptied == ["events"]
    assert not truncate.rewrite
    assert BLOCKS_READERS in modes(truncate, "events")


def test_an_index_keeps_writers_out_unless_built_beside_them(apart: Reports) -> None:
    assert modes(pick(apart, "index"), "users") == {"ShareLock"}
    assert modes(pick(apart, "index_beside"), "users") == {"ShareUpdateExclusiveLock"}


def test_a_check_locks_readers_out_and_its_validation_does_not(apart: Reports) -> None:
    assert modes(pick(apart, "check"), "users") == {BLOCKS_READERS}
    assert modes(pick(apart, "check_not_valid"), "users") == {BLOCKS_READERS}
    assert modes(pick(apart, "validate"), "users") == {"ShareUpdateExclusiveLock"}


def test_a_foreign_key_locks_both_tables_and_its_rows_obey_it(apart: Reports) -> None:
    for name in ("key", "key_not_valid"):
        assert "ShareRowExclusiveLock" in modes(pick(apart, name), "users") & modes(pick(apart, name), "orders")
    # Only the one that is validated reads the rows of the other table.
    assert "RowShareLock" in modes(pick(apart, "key"), "users")
    assert "RowShareLock" not in modes(pick(apart, "key_not_valid"), "users")
    assert any("obey what the revision adds" in note for note in apart["statements"].notes)


def test_a_backfill_is_one_statement_and_batches_are_many(apart: Reports) -> None:
    assert pick(apart, "backfill").times == 1
    assert "RowExclusiveLock" in modes(pick(apart, "backfill"), "users")
    batches = [item for item in apart["statements"].statements if "LIMIT 100" in item.sql]
    assert sum(item.times for item in batches) == 5  # four with rows, and one that finds none
    assert all(item.autocommit for item in batches)


def test_who_waits_is_told_apart(apart: Reports) -> None:
    readers, writers = find(apart["readers_wait"], "pg_sleep"), find(apart["writers_wait"], "pg_sleep")
    assert readers.stalls_beyond(50)
    assert min(readers.read_stall_ms, readers.write_stall_ms) > readers.noise_ms
    assert writers.stalls_beyond(50)
    assert writers.write_stall_ms > writers.read_stall_ms
    [lock] = [lock for lock in readers.locks if lock.mode == BLOCKS_READERS and lock.relation == "users"]
    assert lock.inherited  # one text of two statements, which are told apart
    assert lock.held_ms >= readers.duration_ms


def test_what_a_revision_had_committed_stops_its_second_run(interrupted: Reports) -> None:
    report = interrupted["half_committed"]
    assert not report.retry_safe
    assert find(report, "ADD COLUMN").interrupted == {"after": None}
    assert "already exists" in str(find(report, "CREATE INDEX").interrupted["after"])
    assert interrupted["repeatable"].retry_safe
    assert [item.interrupted for item in interrupted["repeatable"].statements][1:] == [
        {"after": None, "during": None}
    ] * 2


def test_an_interrupted_build_leaves_an_invalid_index_over_which_the_second_run_passes(interrupted: Reports) -> None:
    ways = find(interrupted["invalid_passes"], "CREATE INDEX").interrupted
    assert ways["after"] is None
    assert "invalid index" in str(ways["during"])
    assert not interrupted["invalid_passes"].retry_safe


def test_a_revision_that_rows_refuse_fails_at_its_statement(interrupted: Reports) -> None:
    assert "contains null values" in str(find(interrupted["required"], "ADD COLUMN").error)
    assert not interrupted["required"].retry_safe
