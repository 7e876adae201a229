"""The tables that the migrations make are those of the metadata, and they refuse what they should."""

import hashlib
import subprocess
import sys
from importlib import import_module

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from psycopg import errors
from sqlalchemy import create_engine
from sqlalchemy.dialects.postgresql.base import ischema_names

from remit.db.tables import Xid8, metadata
from remit.migrations import run, state

_DETAILS = """
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated::text
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
UNION ALL
SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid::text
  FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod) || ' ' || attnotnull || ' ' ||
       attidentity::text, pg_get_expr(adbin, adrelid)
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
UNION ALL
SELECT 'table', oid::regclass::text, relpersistence::text, reloptions::text, ''
  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""


def _read_details(dsn: str) -> set[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return {row for row in connection.execute(_DETAILS) if row[1] != "alembic_version"}


def test_metadata_equals_the_migrated_database(
    database: str, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ischema_names, "xid8", Xid8)
    engine = create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    # Alembic compares neither check constraints nor predicates: the catalogs of both ways to make the tables do.
    engine = create_engine(empty_database.replace("postgresql:", "postgresql+psycopg:"))
    metadata.create_all(engine)
    engine.dispose()
    assert _read_details(database) == _read_details(empty_database)


def test_the_catalog_comparison_sees_a_changed_predicate(database: str) -> None:
    before = _read_details(database)
    with psycopg.connect(database) as connection:
        connection.execute("DROP INDEX ix_tasks_creator_user_id")
        connection.execute("CREATE INDEX ix_tasks_creator_user_id ON tasks (creator_user_id)")
        connection.commit()
    assert _read_details(database) != before


def test_there_is_one_head_and_the_database_is_at_it(database: str) -> None:
    revisions = run.history()
    assert len({revision.id for revision in revisions}) == len(revisions)
    assert state.known_revisions() == tuple(revision.id for revision in revisions)
    assert state.current(database) == state.head_revision()


def test_a_migrated_database_is_served_without_alembic(database: str) -> None:
    code = (
        "import sys, remit.app; from remit.cli.serving import _migrate; _migrate(sys.argv[1]);"
        "print(sorted({'alembic', 'sqlalchemy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code, database], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.parametrize("table", ["tasks", "agents", "agent_api_keys"])
@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        (["creator_user_id", "creator_service_account_id"], "at_most_one_creator"),
        (["creator_user_id", "creator_agent_id"], "agent_or_subject_creator"),
        (["creator_service_account_id", "creator_agent_id"], "agent_or_subject_creator"),
    ],
)
def test_a_row_has_one_creator_at_most(database: str, table: str, columns: list[str], constraint: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO tenants (id, name) VALUES (gen_random_uuid(), 'a')")
        connection.execute(
            "INSERT INTO agents (id, tenant_id, name, status, acp_type) "
            "SELECT gen_random_uuid(), id, 'a', 'Ready', 'sync' FROM tenants"
        )
        connection.execute(
            "INSERT INTO tasks (id, tenant_id, agent_id, status) SELECT gen_random_uuid(), tenant_id, id, 'RUNNING' "
            "FROM agents"
        )
        connection.execute(
            "INSERT INTO agent_api_keys (id, tenant_id, agent_id, name, api_key_type, status, secret_hash) "
            "SELECT gen_random_uuid(), tenant_id, id, 'k', 'external', 'active', 'x' FROM agents"
        )
        for column in columns:
            connection.execute(f"UPDATE {table} SET {column} = gen_random_uuid()".encode())
            connection.execute(f"UPDATE {table} SET {column} = NULL".encode())
        values = ", ".join(f"{column} = gen_random_uuid()" for column in columns)
        with pytest.raises(errors.CheckViolation) as raised:
            connection.execute(f"UPDATE {table} SET {values}".encode())
    assert raised.value.diag.constraint_name == f"ck_{table}_{constraint}"


def test_jobs_can_be_deferred_from_a_session_that_never_heard_of_the_queue(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "SELECT procrastinate.procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'hello', 0, NULL, NULL, '{}', NULL)"
            "::procrastinate.procrastinate_job_to_defer_v1])"
        )
        events = connection.execute("SELECT type::text FROM procrastinate.procrastinate_events").fetchall()
    assert events == [("deferred",)]


def test_the_queues_tables_are_those_the_revision_was_written_for() -> None:
    revision = import_module("remit.migrations.versions.0008_procrastinate")
    installed = hashlib.sha256(SchemaManager.get_schema().encode()).hexdigest()
    assert installed == revision.SCHEMA_SHA256, "procrastinate changed its tables: add a revision with its migrations"
