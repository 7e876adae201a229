"""What a command refuses: one line on standard error that says what to do, exit code 2, nothing written."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.databases import make_data_dir
from support.processes import clean_environment, run_remit

from remit.db.embedded import EmbeddedPostgres


def remit(data_dir: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "remit", *arguments],
        env=clean_environment(REMIT_DATA_DIR=str(data_dir), **environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """A data directory with the tenants acme (user alice, agent echo) and globex (user mallory)."""
    with make_data_dir() as folder:
        server = EmbeddedPostgres.start_blocking(folder)
        for command in (
            "db upgrade",
            "tenants add acme",
            "tenants add globex",
            "users add alice --tenant acme",
            "users add mallory --tenant globex",
            "agents enroll echo --tenant acme",
        ):
            ran = remit(folder, *command.split())
            assert ran.returncode == 0, ran.stderr
        yield folder
        server.stop_blocking()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("tenants add acme", "There is a tenant named 'acme' already"),
        ("users add bob --tenant nowhere", "There is no tenant named 'nowhere'"),
        ("users add alice --tenant acme", "user named 'alice' already"),
        ("users add bob --tenant acme --role king", "role"),
        ("keys create --tenant acme", "exactly one of --user and --service-account"),
        ("keys create --tenant acme --user alice --service-account bot", "exactly one of"),
        ("keys create --tenant acme --user nobody", "must name a user of your tenant"),
        ("keys create --tenant acme --user mallory", "must name a user of your tenant"),
        ("keys create --tenant acme --user alice --expires soon", "is not a duration"),
        ("keys revoke not-an-id", "there is no key"),
        ("agents enroll Bad_Name --tenant acme", "is not a name for an agent"),
        ("agents delete ghost --tenant acme", "has no agent 'ghost'"),
        ("groups join research --tenant acme", "exactly one of --user, --service-account and --group"),
        ("authz check nonsense read user:alice --tenant acme", "is not of the form type:id"),
        ("authz check agent:echo read user:nobody --tenant acme", "there is no user 'nobody'"),
        ("authz check agent:echo fly user:alice --tenant acme", "fly"),
        ("authz check agent:echo read user:alice", "say whose with --tenant"),
        ("authz grant agent:echo king user:alice --tenant acme", "king"),
        ("nonsense", "nonsense"),
    ],
)
def test_refusal_is_one_line(installed: Path, command: str, says: str) -> None:
    ran = remit(installed, *command.split())
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert ran.stderr.startswith("error: ")
    assert ran.stderr.count("\n") == 1
    assert says in ran.stderr
    assert ran.stdout == ""


def test_grant_across_tenants_must_be_asked_for(installed: Path) -> None:
    listed = json.loads(remit(installed, "users", "list", "--tenant", "globex", "--json").stdout)
    mallory = f"user:{listed[0]['id']}"
    refused = remit(installed, "authz", "grant", "agent:echo", "owner", mallory, "--tenant", "acme")
    assert refused.returncode == 2
    assert "--allow-cross-tenant" in refused.stderr
    written = remit(
        installed, "authz", "grant", "agent:echo", "owner", mallory, "--tenant", "acme", "--allow-cross-tenant"
    )
    assert written.returncode == 0
    assert "warning" in written.stderr
    checked = remit(installed, "authz", "check", "agent:echo", "read", mallory, "--tenant", "acme")
    assert (checked.returncode, checked.stdout) == (1, "denied\n"), "the gate holds"


def test_json_is_one_document_and_the_secret_is_in_it_once(installed: Path) -> None:
    ran = remit(installed, "keys", "create", "--tenant", "acme", "--user", "alice", "--json")
    made = json.loads(ran.stdout)
    assert made["secret"].startswith("remit_user_")
    assert "cannot be shown again" in ran.stderr
    listed = remit(installed, "keys", "list", "--tenant", "acme", "--json")
    assert made["secret"] not in listed.stdout
    assert made["id"] in {key["id"] for key in json.loads(listed.stdout)}


def test_disabled_tenant(installed: Path) -> None:
    assert remit(installed, "tenants", "add", "sleepy").returncode == 0
    assert remit(installed, "tenants", "disable", "sleepy").returncode == 0
    ran = remit(installed, "users", "add", "bob", "--tenant", "sleepy")
    assert ran.returncode == 2
    assert "is disabled" in ran.stderr


def test_no_database_yet(data_dir: Path) -> None:
    ran = remit(data_dir, "tenants", "list")
    assert ran.returncode == 2
    assert "run `remit db upgrade`" in ran.stderr
    examined = remit(data_dir, "doctor", "--offline")
    assert examined.returncode == 1
    assert "run `remit db upgrade`" in examined.stdout


def test_unreachable_server_does_not_tell_its_password(data_dir: Path) -> None:
    url = "postgresql://remit:hunter2@127.0.0.1:1/remit"
    for command in (("tenants", "list"), ("db", "upgrade"), ("serve", "--port", "0"), ("doctor",)):
        ran = subprocess.run(
            [sys.executable, "-m", "remit", *command],
            env=clean_environment(REMIT_DATABASE_URL=url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode in {1, 2}
        assert "cannot reach the database" in " ".join((ran.stdout + ran.stderr).split())
        assert "hunter2" not in ran.stdout + ran.stderr


def test_port_that_is_taken(data_dir: Path) -> None:
    with run_remit(data_dir) as server:
        port = server.url.rpartition(":")[2]
        ran = remit(data_dir, "serve", "--port", port)
    assert ran.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ran.stderr
    assert "--port" in ran.stderr


def test_second_server_on_the_same_data_attaches(data_dir: Path) -> None:
    with run_remit(data_dir), run_remit(data_dir) as second:
        assert second.process.poll() is None


def test_open_enrolment_is_for_loopback_only(data_dir: Path) -> None:
    ran = remit(data_dir, "serve", "--dev", "--host", "0.0.0.0")
    assert ran.returncode == 2
    assert "open enrolment is for this machine alone" in ran.stderr


def test_schema_that_does_not_parse(data_dir: Path, tmp_path: Path) -> None:
    schema = tmp_path / "broken.zed"
    schema.write_text("definition task {\n  relation owner user\n}\n")
    ran = remit(data_dir, "serve", "--port", "0", REMIT_AUTHZ_SCHEMA=str(schema))
    assert ran.returncode == 2
    assert "broken.zed:2" in ran.stderr
    assert "Traceback" not in ran.stderr
