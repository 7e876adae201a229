"""What commands bring about: who may, who may no longer, and what the audit trail says of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from support.databases import make_data_dir
from support.processes import clean_environment, free_port

from remit.cli.output import print_table
from remit.db.embedded import EmbeddedPostgres


class Installation:
    """A data directory with the tenant acme in it, and a server that stays up."""

    def __init__(self, data_dir: Path, server: EmbeddedPostgres) -> None:
        self.data_dir = data_dir
        self.server = server

    def run(self, command: str, *, code: int = 0, **environment: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "remit", *command.split()],
            env=clean_environment(REMIT_DATA_DIR=str(self.data_dir), **environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == code, f"{command}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def read(self, command: str, *, code: int = 0, **environment: str) -> Any:
        return json.loads(self.run(f"{command} --json", code=code, **environment))

    def query(self, statement: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.server.dsn, row_factory=dict_row) as connection:
            return connection.execute(statement.encode()).fetchall()


@pytest.fixture(scope="module")
def acme() -> Iterator[Installation]:
    with make_data_dir() as folder:
        server = EmbeddedPostgres.start_blocking(folder)
        try:
            made = Installation(folder, server)
            made.run("db upgrade")
            made.run("tenants add acme")
            made.run("agents enroll echo --tenant acme --private")
            yield made
        finally:
            server.stop_blocking()


def test_doctor_looks_and_changes_nothing(acme: Installation) -> None:
    before = acme.query("SELECT count(*) FROM authz_schemas")
    other = acme.data_dir / "other.zed"
    other.write_text("definition user {}\n")
    found = acme.read("doctor --offline", code=1, REMIT_AUTHZ_SCHEMA=str(other), REMIT_PORT="0")
    assert {(one["what"], one["state"]) for one in found if one["state"] == "todo"} == {("schema", "todo")}
    assert acme.query("SELECT count(*) FROM authz_schemas") == before


def test_doctor_names_what_nothing_reads(acme: Installation) -> None:
    found = acme.read("doctor", REMIT_PROT="1", REMIT_PORT=str(free_port()))
    notes = [f"{one['what']}: {one['is_so']}" for one in found if one["state"] == "note"]
    assert notes == [
        "settings: REMIT_PROT: not a setting, nothing reads it here",
        "agents: enrolled and not registered yet: echo",
    ]


def test_disabled_user_is_denied_what_the_graph_allows(acme: Installation) -> None:
    acme.run("users add alice@example.com --tenant acme")
    acme.run("authz grant agent:echo editor user:alice@example.com --tenant acme")
    check = "authz check agent:echo update user:alice@example.com --tenant acme"
    assert acme.run(check) == "allowed\n"
    acme.run("users disable alice@example.com --tenant acme")
    assert acme.run(check, code=1) == "denied\n"
    acme.run("authz grant agent:echo owner user:alice@example.com --tenant acme", code=2)
    acme.run("users enable alice@example.com --tenant acme")
    assert acme.run(check) == "allowed\n"


def test_disabled_group_grants_nothing_and_comes_back_empty(acme: Installation) -> None:
    acme.run("users add carol --tenant acme")
    acme.run("groups add outer --tenant acme")
    acme.run("groups add inner --tenant acme")
    acme.run("groups join inner --user carol --tenant acme")
    acme.run("groups join outer --group inner --tenant acme")
    acme.run("authz grant agent:echo editor group:outer#member --tenant acme")
    check = "authz check agent:echo update user:carol --tenant acme"
    assert acme.run(check) == "allowed\n"
    assert acme.read("groups disable inner --tenant acme")["removed"]
    assert acme.run(check, code=1) == "denied\n"
    acme.run("groups enable inner --tenant acme")
    assert acme.read("groups members inner --tenant acme") == []
    acme.run("users disable carol --tenant acme")
    acme.run("users enable carol --tenant acme")
    acme.run("groups join inner --user carol --tenant acme")
    assert acme.run(check) == "allowed\n"
    acme.run("users disable carol --tenant acme")
    acme.run("groups leave inner --user carol --tenant acme")
    assert acme.read("groups members inner --tenant acme") == []


def test_role_replaces_the_one_before(acme: Installation) -> None:
    acme.run("service-accounts add reporter --tenant acme --role viewer")
    assert acme.read("service-accounts role reporter admin --tenant acme")["changed"] is True
    assert acme.read("service-accounts role reporter admin --tenant acme")["changed"] is False
    (listed,) = acme.read("service-accounts list --tenant acme")
    assert listed["role"] == "admin"
    roles = [one["relation"] for one in acme.read("authz list tenant:acme") if one["name"] == "reporter"]
    assert roles == ["admin"]


def test_nothing_is_granted_on_a_deleted_agent(acme: Installation) -> None:
    acme.run("users add dave --tenant acme")
    id = acme.read("agents enroll brief --tenant acme --owner dave")["id"]
    acme.run("agents delete brief --tenant acme")
    assert acme.read(f"authz list agent:{id}") == []
    acme.run(f"authz grant agent:{id} viewer user:dave --tenant acme --allow-cross-tenant", code=2)
    assert acme.read(f"authz list agent:{id}") == []
    assert {key["revoked_at"] is None for key in acme.read("keys list --tenant acme") if key["holder"] == "brief"} == {
        False
    }


def test_every_change_is_in_the_trail(acme: Installation) -> None:
    acme.run("users add erin --tenant acme")
    key = acme.read("keys create --tenant acme --user erin")
    acme.run(f"keys revoke {key['id']}")
    rows = acme.query("SELECT actor_type, actor_id, action, detail::text FROM audit ORDER BY id")
    assert {(row["actor_type"], row["actor_id"]) for row in rows} == {("operator", None)}
    assert all(json.loads(row["detail"])["os_user"] for row in rows)
    assert [row["action"] for row in rows[-3:]] == ["user.create", "key.create", "key.revoke"]
    assert key["secret"] not in str(rows)


def test_failed_change_leaves_nothing(acme: Installation) -> None:
    count = "SELECT (SELECT count(*) FROM audit) AS trail, (SELECT count(*) FROM relationships) AS graph"
    before = acme.query(count)
    acme.run("authz grant agent:echo king user:nobody --tenant acme", code=2)
    acme.run("tenants add acme", code=2)
    assert acme.query(count) == before


def test_table_keeps_ids_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    id = "01990000-0000-7000-8000-000000000000"
    print_table(["id", "name"], [[id, "a name that is longer than what is left of the line"], [id, "\x1b[31mred"]])
    said = capsys.readouterr().out
    assert said.count(id) == 2
    assert "\x1b[31m" not in said
