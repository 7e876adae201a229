"""What real projects do that a plain history does not: each is rehearsed, and what is said of it is true."""

import pytest
from rehearse.conftest import make_project

from remit.migrations.rehearse.model import RevisionReport
from remit.migrations.rehearse.options import Options
from remit.migrations.rehearse.project import open_project
from remit.migrations.rehearse.run import rehearse

REVISIONS = {
    "stand_ins": """
op.execute('CREATE EXTENSION pgcrypto; CREATE EXTENSION "uuid-ossp"')
op.execute("CREATE TABLE things (id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), "
           "hash bytea DEFAULT digest('a', 'sha256'), secret text DEFAULT crypt('a', gen_salt('bf')))")
op.execute("INSERT INTO things DEFAULT VALUES")
op.execute("CREATE TABLE days (id bigint, at date NOT NULL) PARTITION BY RANGE (at)")
op.execute("CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')")
op.execute("CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')")
""",
    "role": 'op.execute("GRANT SELECT ON users TO reporting")',
    "caught": """
try:
    with op.get_bind().begin_nested():
        op.execute("ALTER TABLE absent ADD COLUMN note text")
except sa.exc.ProgrammingError:
    op.execute("ALTER TABLE users ADD COLUMN note text")
""",
    "own_commit": """
op.execute("COMMIT")
op.execute("CREATE INDEX CONCURRENTLY ix_users_note ON users (note)")
""",
    "vacuum": """
with op.get_context().autocommit_block():
    op.execute("VACUUM (ANALYZE) users")
""",
    "detach": """
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE days DETACH PARTITION days_1 CONCURRENTLY")
""",
    "required": """
op.execute("ALTER TABLE users ADD COLUMN kind text NOT NULL DEFAULT ''")
op.execute("ALTER TABLE users ALTER COLUMN kind DROP DEFAULT")
""",
    "nothing": "pass",
    "question": """
op.execute("ALTER TABLE users ADD COLUMN last text")
op.execute("SELECT 1 / 0")
""",
}
Reports = dict[str, RevisionReport]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    config = make_project(tmp_path_factory.mktemp("odd") / "project", REVISIONS)
    # The driver that most projects name, installed or not.
    config.write_text(config.read_text().replace("postgresql:", "postgresql+psycopg2:"))
    options = Options(rows=100, measured=False, retries=False)
    report = rehearse(open_project(config, "0001:heads"), options, lambda _: None)
    return {revision.revision: revision for revision in report.revisions}


def locks(report: RevisionReport, number: int) -> set[tuple[str, str]]:
    return {(lock.relation, lock.mode) for lock in report.statements[number].locks if not lock.inherited}


def test_what_the_scratch_server_lacks_is_stood_in_for_and_named(reports: Reports) -> None:
    assert any("stand-in is used for pgcrypto, uuid-ossp" in note for note in reports["role"].notes)
    assert reports["role"].error is None
    assert any("role reporting was made" in note for note in reports["role"].notes)


def test_a_failure_that_the_revision_catches_is_none(reports: Reports) -> None:
    assert reports["caught"].error is None
    assert [statement.sql for statement in reports["caught"].statements] == [
        "ALTER TABLE absent ADD COLUMN note text",
        "ALTER TABLE users ADD COLUMN note text",
    ]


def test_a_commit_of_its_own_lets_a_concurrent_build_run_as_psycopg2_does(reports: Reports) -> None:
    assert reports["own_commit"].error is None
    assert reports["own_commit"].statements[1].autocommit
    assert ("users", "ShareUpdateExclusiveLock") in locks(reports["own_commit"], 1)


def test_locks_that_are_held_for_moments_are_seen(reports: Reports) -> None:
    assert ("users", "ShareUpdateExclusiveLock") in locks(reports["vacuum"], 0)
    assert ("days", "ShareUpdateExclusiveLock") in locks(reports["detach"], 0)
    assert reports["detach"].rows == {"days": 100}


def test_the_statement_that_fails_is_the_one_that_is_named(reports: Reports) -> None:
    assert reports["nothing"].statements == []
    add, question = reports["question"].statements
    assert add.error is None
    assert "division by zero" in str(question.error)
