"""The command: its exit codes, its reports, and what it says when it cannot run."""

import json
from pathlib import Path

import pytest
from rehearse.conftest import make_project

from remit.cli import run_command

STUBBORN = """
op.execute("CREATE TABLE stubborn (id bigint PRIMARY KEY, word text NOT NULL)")
op.execute("ALTER TABLE stubborn ADD CONSTRAINT ck_word CHECK (md5(word) LIKE '000000%')")
"""
# The MD5 of this begins with six zeros.
WORD = "20412333"


BAD = {
    ("--revision", "nine"): "nine",
    ("--revision", "0002:0002"): "--revision 0002:0002 holds no revision",
    ("--postgres", "/nowhere"): "no bin/postgres in /nowhere",
    ("--old-queries", "/nowhere"): "--old-queries: cannot read /nowhere",
    ("--max-stall", "nan"): "greater than or equal to 0",
}


def run(config: Path, *options: str) -> int:
    return run_command(["db", "rehearse", "--config", str(config), "--rows", "50", *options])


def test_a_safe_revision_is_reported_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change = 'op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS city text, DROP COLUMN IF EXISTS age")'
    config = make_project(tmp_path / "p", {"0002": change})
    assert run(config, "--format", "json", "--max-stall", "5000") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["retry_safe"] is True
    [statement] = report["statements"]
    assert statement["sql"] == "ALTER TABLE users ADD COLUMN IF NOT EXISTS city text, DROP COLUMN IF EXISTS age"
    assert {lock["mode"] for lock in statement["locks"]} == {"AccessExclusiveLock"}
    assert {lock["relation"] for lock in statement["locks"]} == {"users"}
    assert statement["rewrite"] is False
    assert statement["error"] is None
    assert statement["max_stall_ms"] == max(statement["read_stall_ms"], statement["write_stall_ms"])
    assert {"duration_ms", "growth", "wal_bytes"} <= statement.keys()
    assert report["failed"] is False
    [revision] = report["revisions"]
    queries = [(query["made_up"], query["error"]) for query in revision["old_queries"]]
    assert queries == [(True, 'column "age" does not exist'), (True, 'column "age" of relation "users" does not exist')]


def test_a_check_that_refuses_every_row_is_named_and_rows_can_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = 'op.execute("ALTER TABLE stubborn ADD COLUMN note text")'
    config = make_project(tmp_path / "p", {"0002": STUBBORN, "0003": add})
    assert run(config) == 2
    error = capsys.readouterr().err
    assert "ck_word" in error
    assert "--seed-sql" in error
    seed = tmp_path / "seed.sql"
    seed.write_text(
        f"INSERT INTO stubborn SELECT n, '{WORD}' FROM generate_series(1, current_setting('rehearse.rows')::integer) n"
    )
    assert run(config, "--seed-sql", str(seed), "--max-stall", "5000") == 0
    text = capsys.readouterr().out
    assert "stubborn 50" in text
    assert "AccessExclusiveLock on stubborn" in text
    assert "Over time" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("postgresql://nobody@127.0.0.1:1/nothing", "sqlite"),
        ("context.config.get_main_option", "--url-variable"),
    ],
    ids=["another-dialect", "a-server-of-its-own"],
)
def test_no_other_database_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    config = make_project(tmp_path / "p", {"0002": 'op.execute("SELECT 1")'})
    env = tmp_path / "p" / "migrations" / "env.py"
    if message == "sqlite":
        config.write_text(config.read_text().replace(change, "sqlite:///there.db"))
    else:
        env.write_text("import psycopg\npsycopg.connect('host=127.0.0.1 port=1')\n" + env.read_text())
    assert run(config) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "p" / "there.db").exists()


def test_what_cannot_be_rehearsed_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.ini") == 2
    assert "none.ini" in capsys.readouterr().err
    config = make_project(tmp_path / "p", {"0002": "pass"})
    env = tmp_path / "p" / "migrations" / "env.py"
    for spoilt, said in BAD.items():
        assert run(config, *spoilt) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
    env.write_text("def (:")
    assert run(config) == 2
    assert "env.py cannot be read: invalid syntax" in capsys.readouterr().err
    env.write_text("")
    assert run(config) == 2
    assert "env.py ran no migrations" in capsys.readouterr().err
    config.write_bytes(b"\xff")
    assert run(config) == 2
    assert "is no configuration of Alembic" in capsys.readouterr().err
