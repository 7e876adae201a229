"""What commands bring about: who may, who may no longer, and what the audit trail says of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from support.commands import remit
from support.databases import make_data_dir
from support.processes import free_port
from support.server import serve_in_thread

from remit.cli.output import print_table
from remit.db.embedded import EmbeddedPostgres


class Installation:
    """A data directory with the tenant acme in it, and a server that stays up."""

    def __init__(self, data_dir: Path, server: EmbeddedPostgres) -> None:
        self.data_dir = data_dir
        self.server = server

    def run(self, command: str, *, code: int = 0, **environment: str) -> str:
        ran = remit(*command.split(), REMIT_DATA_DIR=str(self.data_dir), **environment)
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


def test_disabling_ends_keys_and_access_at_once(acme: Installation) -> None:
    """What a server answered a moment ago it refuses from the next request on, and a stream that is open ends."""
    for name in ("frank", "grace"):
        acme.run(f"users add {name} --tenant acme")
    acme.run("service-accounts add robot --tenant acme")
    keys = [acme.read("keys create --tenant acme --user frank")["secret"] for _ in range(2)]
    robot = acme.read("keys create --tenant acme --service-account robot")["secret"]
    grace = {"authorization": f"Bearer {acme.read('keys create --tenant acme --user grace')['secret']}"}
    acme.run("authz grant agent:echo editor user:frank --tenant acme")
    acme.run("authz grant agent:echo owner user:grace --tenant acme")
    task = acme.read("worker enqueue echo --tenant acme --name watched")
    assert task
    acme.run("worker --until-idle")
    acme.run("authz grant task:watched viewer user:frank --tenant acme")
    with (
        serve_in_thread(acme.server.dsn, stream_ping=0.2) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=20) as http,
    ):
        holders = [{"authorization": f"Bearer {key}"} for key in keys]
        for headers in holders:
            assert http.get("/agents/name/echo", headers=headers).status_code == 200
        assert http.get("/me", headers={"x-api-key": robot}).status_code == 200
        with http.stream("GET", "/tasks/name/watched/stream", headers=holders[0]) as stream:
            lines = stream.iter_lines()
            assert "connected" in next(lines)
            acme.run("users disable frank --tenant acme")
            acme.run("service-accounts disable robot --tenant acme")
            for headers in (*holders, {"x-api-key": robot}):
                for path in ("/me", "/agents/name/echo", "/tasks/name/watched", "/tasks"):
                    assert http.get(path, headers=headers).status_code == 401, path
            assert not any("data" in line for line in lines), "it ends, and tells nothing more"
        assert http.get("/agents/name/echo", headers=grace).status_code == 200
        listed = http.get(f"/agents/{acme.read('agents list --tenant acme')[0]['id']}/access", headers=grace).json()
        assert {one["subject_id"] for one in listed["grants"]} >= {"frank", "grace"}, "what he held is still on record"
        acme.run("users enable frank --tenant acme")
        assert http.get("/agents/name/echo", headers=holders[0]).status_code == 200


def test_an_agents_keys_are_made_and_end_here(acme: Installation) -> None:
    internal = acme.read("agents keys create echo own --tenant acme --type internal")
    external = acme.read("agents keys create echo own --tenant acme")
    acme.run("agents keys create echo own --tenant acme", code=2)
    acme.run("agents keys create nobody own --tenant acme", code=2)
    acme.run("agents keys create echo acme/repository --tenant acme --type github", code=2)
    signing = acme.read(
        "agents keys create echo acme/repository --tenant acme --type github", REMIT_SECRET_KEY="k" * 40
    )
    listed = acme.read("agents keys list echo --tenant acme")
    assert [(row["id"], row["api_key_type"], row["status"]) for row in listed] == [
        (signing["id"], "github", "active"),
        (external["id"], "external", "active"),
        (internal["id"], "internal", "active"),
    ]
    relations = {one["relation"] for one in acme.read(f"authz list api_key:{internal['id']}")}
    assert relations == {"tenant", "parent_agent"}, "an operator owns nothing"
    with serve_in_thread(acme.server.dsn) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        as_agent = {"x-agent-api-key": internal["secret"]}
        assert http.get("/me", headers=as_agent).json()["name"] == "echo"
        assert http.get("/me", headers={"x-agent-api-key": external["secret"]}).status_code == 401
        acme.run("agents keys delete echo own --tenant acme --type internal")
        assert http.get("/me", headers=as_agent).status_code == 401
    acme.run("agents keys delete echo own --tenant acme --type internal", code=2)
    assert acme.read(f"authz list api_key:{internal['id']}") == []
    actions = acme.query("SELECT action, actor_type FROM audit WHERE resource_type = 'api_key' ORDER BY id")
    assert {(row["action"], row["actor_type"]) for row in actions} >= {
        ("api_key.create", "operator"),
        ("api_key.delete", "operator"),
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
