"""Rows that obey what a table demands of them."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from support.databases import make_database

from remit.db.embedded import EmbeddedPostgres
from remit.migrations.rehearse.catalog import list_relations, read_tables
from remit.migrations.rehearse.errors import NoRowFitsError
from remit.migrations.rehearse.fill import Filled, fill
from remit.migrations.rehearse.server import Connection
from remit.migrations.rehearse.sizes import Plan, sort_tables
from remit.migrations.rehearse.statistics import read_statistics

ROWS = 300
DEMANDING = Path(__file__).with_name("demanding.sql")


@pytest.fixture
def connection(empty_database: str) -> Iterator[Connection]:
    with psycopg.connect(empty_database, autocommit=True) as connected:
        yield connected


def fill_tables(connection: Connection, *names: str, statistics_of: str | None = None) -> Filled:
    oids = {oid for oid, name in list_relations(connection).items() if name in names}
    tables = read_tables(connection, oids)
    statistics = read_statistics(statistics_of, [table.name for table in tables.values()]) if statistics_of else {}
    return fill(connection, Plan(tables, sort_tables(tables), oids, statistics), ROWS)


def count(connection: Connection, table: str, condition: str = "true") -> int:
    row = connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_every_common_demand_is_met(connection: Connection) -> None:
    connection.execute(DEMANDING.read_bytes())
    names = [
        "tenants",
        "people",
        "rooms",
        "room_people",
        "profiles",
        "logs",
        "parts",
        "hashed",
        "tree",
        "only_id",
        "odds",
        "cards",
        "shapes",
        "nothing",
        "teams",
        "members",
    ]
    filled = fill_tables(connection, *names)
    short = {name for name in names if filled.rows[name] < ROWS}
    assert short == {"odds"}  # whose trigger refuses every second row
    assert filled.rows["odds"] > ROWS / 4
    # The database checks all constraints itself; what it does not check is that the rows differ.
    assert count(connection, "people", "mood IS NULL") < ROWS / 2
    assert len(connection.execute("SELECT DISTINCT kind FROM cards").fetchall()) == 3
    assert len(connection.execute("SELECT DISTINCT plan FROM tenants").fetchall()) == 2
    assert len(connection.execute("SELECT DISTINCT lead FROM teams").fetchall()) > ROWS / 2
    assert count(connection, "rooms", "num_nonnulls(a, b) = 1") == ROWS
    unvalidated = connection.execute("SELECT conname FROM pg_constraint WHERE NOT convalidated").fetchall()
    assert unvalidated == []


def test_foreign_keys_and_indexes_are_as_before(connection: Connection) -> None:
    connection.execute(DEMANDING.read_bytes())
    shape = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "UNION ALL SELECT indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid) "
        "FROM pg_index "
        "ORDER BY 1, 2, 3"
    )
    before = connection.execute(shape.encode()).fetchall()
    fill_tables(connection, "rooms", "room_people", "cards")
    assert connection.execute(shape.encode()).fetchall() == before


def test_a_second_fill_adds_rows_that_differ_from_those_there(connection: Connection) -> None:
    connection.execute("CREATE TABLE things (id integer PRIMARY KEY, name text UNIQUE)")
    fill_tables(connection, "things")
    assert fill_tables(connection, "things").rows == {"things": 2 * ROWS}


@pytest.mark.parametrize(
    ("demand", "named"),
    [
        ("CHECK (length(word) > 5 AND length(word) < 3)", "things_word_check"),
        ("CHECK (md5(word) = 'x')", "things_word_check"),
        ("CONSTRAINT never CHECK (word = 'a') CHECK (word = 'b')", "together"),
    ],
)
def test_a_condition_that_refuses_everything_is_named(connection: Connection, demand: str, named: str) -> None:
    connection.execute(f"CREATE TABLE things (id integer PRIMARY KEY, word text NOT NULL {demand})".encode())
    with pytest.raises(NoRowFitsError, match=named):
        fill_tables(connection, "things")


def test_a_trigger_that_refuses_everything_is_named(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE things (id integer PRIMARY KEY);"
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed'; END $$;"
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER closed_shop BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(NoRowFitsError, match="closed_shop"):
        fill_tables(connection, "things")
    connection.execute("DROP TRIGGER closed_shop ON things")
    connection.execute("CREATE TRIGGER quiet BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION swallow()")
    with pytest.raises(NoRowFitsError, match="quiet"):
        fill_tables(connection, "things")


def test_a_type_that_nobody_knows_is_named(connection: Connection) -> None:
    connection.execute("CREATE TABLE things (id serial, seen pg_snapshot NOT NULL)")
    with pytest.raises(NoRowFitsError, match="seen"):
        fill_tables(connection, "things")


def test_proportions_come_from_statistics_and_values_do_not(postgres: EmbeddedPostgres, connection: Connection) -> None:
    table = "CREATE TABLE visits (id serial PRIMARY KEY, place text, note text, code integer)"
    with make_database(postgres) as real:
        with psycopg.connect(real, autocommit=True) as other:
            other.execute(table.encode())
            other.execute(
                "INSERT INTO visits (place, note, code) SELECT CASE WHEN n % 10 < 7 THEN 'secret' ELSE 'hidden' END, "
                "CASE WHEN n % 2 = 0 THEN repeat('private ', 20) || n END, n % 4 FROM generate_series(1, 5000) n"
            )
            other.execute("ANALYZE visits")
        connection.execute(table.encode())
        fill_tables(connection, "visits", statistics_of=real)
    assert count(connection, "visits") == ROWS
    assert ROWS * 0.35 < count(connection, "visits", "note IS NULL") < ROWS * 0.65
    rows = connection.execute("SELECT count(*) FROM visits GROUP BY place ORDER BY 1 DESC").fetchall()
    assert len(rows) == 2
    assert ROWS * 0.55 < rows[0][0] < ROWS * 0.85
    assert len(connection.execute("SELECT DISTINCT code FROM visits").fetchall()) == 4
    row = connection.execute("SELECT avg(length(note)) FROM visits").fetchone()
    assert row is not None
    assert 120 < row[0] < 200
    text = connection.execute(sql.SQL("SELECT string_agg(visits::text, ' ') FROM visits")).fetchone()
    assert text is not None
    assert not any(word in text[0] for word in ("secret", "hidden", "private"))
