"""Queries of the running code: those that are named, and those that a server was seen to run, after a revision."""

from collections.abc import Iterator
from html import unescape
from pathlib import Path

import psycopg
import pytest
from rehearse.conftest import make_project
from support.databases import FAST, make_data_dir, make_database

from remit.cli import run_command
from remit.db.embedded import EmbeddedPostgres
from remit.migrations.rehearse.catalog import Table, list_relations, read_tables
from remit.migrations.rehearse.queries import sample_queries

READ = "SELECT name FROM users WHERE id = 7"
RUN = [
    READ,
    READ,
    READ,
    "INSERT INTO users (id, name) VALUES (7, 'Ada')",
    "UPDATE users SET name = 'Eve' WHERE id = 7",
    "WITH gone AS (DELETE FROM users WHERE id = 8 RETURNING id) SELECT * FROM gone",
    "SELECT total FROM orders WHERE id = 7",
]
GONE = 'column "name" does not exist'
GONE_OF = 'column "name" of relation "users" does not exist'
BROKEN = {
    "SELECT name FROM users": GONE,
    "SELECT * FROM users": "cached plan must not change result type",
    "SELECT name FROM users WHERE id = $1": GONE,
    "INSERT INTO users (id, name) VALUES ($1, $2)": GONE_OF,
    "UPDATE users SET name = $1 WHERE id = $2": GONE_OF,
}
TABLES = """
CREATE TABLE users (id bigint PRIMARY KEY, email varchar(100), name text, age int);
CREATE TABLE orders (id bigint PRIMARY KEY, total int);
INSERT INTO users SELECT n, 'a', 'b' FROM generate_series(10, 2009) n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def watched() -> Iterator[str]:
    """A database in use on a server that keeps the queries that it runs, in a schema as hosting providers have it."""
    options = FAST | {"shared_preload_libraries": "pg_stat_statements"}
    with make_data_dir() as folder:
        server = EmbeddedPostgres.start_blocking(folder, options=options)
        try:
            with psycopg.connect(server.dsn, autocommit=True) as connection:
                connection.execute("CREATE SCHEMA extensions; CREATE EXTENSION pg_stat_statements SCHEMA extensions")
                connection.execute(TABLES.encode())
                for query in RUN:
                    connection.execute(query.encode())
            yield server.dsn
        finally:
            server.stop_blocking()


def read_users(dsn: str) -> list[Table]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        oids = {oid for oid, name in list_relations(connection).items() if name == "users"}
        return list(read_tables(connection, oids).values())


def test_the_most_frequent_queries_come_first_and_without_values(watched: str) -> None:
    queries, missing = sample_queries(watched, read_users(watched))
    assert missing is None
    assert queries[0] == "SELECT name FROM users WHERE id = $1"
    assert set(queries[1:]) >= {
        "INSERT INTO users (id, name) VALUES ($1, $2)",
        "UPDATE users SET name = $1 WHERE id = $2",
        "WITH gone AS (DELETE FROM users WHERE id = $1 RETURNING id) SELECT * FROM gone",
    }
    assert not any("orders" in query or "Ada" in query for query in queries)


def test_those_that_a_revision_breaks_are_named(
    watched: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_project(tmp_path / "p", {"0002": 'op.alter_column("users", "name", new_column_name="full_name")'})
    queries = tmp_path / "old.sql"
    queries.write_text("SELECT id FROM users WHERE id = $1; SELECT name FROM users; SELECT * FROM users")
    options = ["--old-queries", str(queries), "--stats-from", watched, "--measured-rows", "50", "--max-stall", "5000"]
    assert run_command(["db", "rehearse", "--config", str(config), *options, "--format", "html"]) == 1
    page = capsys.readouterr().out
    findings = unescape(page.partition('<ul class="bad">')[2].partition("</ul>")[0])
    assert findings.count("breaks an old query") == len(BROKEN)
    for query, error in BROKEN.items():
        assert f"<li>0002 breaks an old query ({error}): {query}</li>" in findings
    assert page.count('<span class="good">works</span>') == 2
    assert "Rows: users 50<" in page
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")


def test_why_there_are_none_is_said(watched: str, postgres: EmbeddedPostgres) -> None:
    users = read_users(watched)
    with make_database(postgres) as plain:
        assert sample_queries(plain, users) == ([], "pg_stat_statements is not installed in that database")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
        assert "shared_preload_libraries" in str(sample_queries(plain, users)[1])
    with psycopg.connect(watched, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA extensions TO guest")
    assert "pg_read_all_stats" in str(sample_queries(watched.replace("//remit@", "//guest@"), users)[1])
    assert sample_queries(watched, [])[1] == "it has run none on these tables"
