"""What a command refuses: one line on standard error that says what to do, exit code 2, nothing written."""

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest
from support import commands
from support.databases import FAST, make_data_dir
from support.processes import clean_environment, run_remit

from remit.db.embedded import EmbeddedPostgres

NOBODY = "01990000-0000-7000-8000-000000000000"


def remit(data_dir: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return commands.remit(*arguments, REMIT_DATA_DIR=str(data_dir), **environment)


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """A data directory with the tenants acme (user alice, agent echo) and globex (user mallory)."""
    with make_data_dir() as folder:
        server = EmbeddedPostgres.start_blocking(folder, options=FAST)
        for command in (
            "db upgrade",
            "tenants add acme",
            "tenants add globex",
            "users add alice --tenant acme",
            "users add mallory --tenant globex",
            "groups add research --tenant acme",
            "groups add lab --tenant acme",
            "groups add closed --tenant acme",
            "groups join lab --group research --tenant acme",
            "groups disable closed --tenant acme",
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
        ("authz grant agent:echo viewer user:alice --tenant globex", "there is no agent 'echo'"),
        (f"authz grant task:{NOBODY} viewer user:{NOBODY}", "--allow-cross-tenant"),
        ("authz grant group:closed member user:alice --tenant acme", "disabled"),
        ("authz grant group:research member group:lab#member --tenant acme", "is inside the group"),
        ("authz revoke agent:echo editor user:alice --tenant acme", "is not written"),
        (f"authz check agent:{NOBODY} fly user:alice --tenant acme", "fly"),
        ("groups add research --tenant acme", "group named 'research' already"),
        ("groups join research --group lab --tenant acme", "is inside the group"),
        ("groups join closed --user alice --tenant acme", "is disabled"),
        ("groups leave research --user alice --tenant acme", "is no direct member"),
        ("agents enroll echo --tenant acme --owner alice", "--owner and --private are for a new one"),
        ("users add bob --tenant", "requires an argument"),
        ("users", "Missing command"),
        ("db restore nothing.dump", "nothing.dump"),
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
        ran = commands.remit(*command, REMIT_DATABASE_URL=url)
        assert ran.returncode in {1, 2}
        assert "cannot reach the database" in " ".join((ran.stdout + ran.stderr).split())
        assert "hunter2" not in ran.stdout + ran.stderr


def test_wrong_password_is_not_told(data_dir: Path) -> None:
    server = EmbeddedPostgres.start_blocking(data_dir)
    try:
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute("CREATE ROLE app LOGIN PASSWORD 'right'")
            (rules,) = admin.execute("SHOW hba_file").fetchone() or ("",)
            Path(rules).write_text("local all remit trust\nlocal all all scram-sha-256\n")
            admin.execute("SELECT pg_reload_conf()")
        url = server.dsn.replace("remit@/", "app:hunter2@/")
        ran = remit(data_dir, "tenants", "list", REMIT_DATABASE_URL=url)
    finally:
        server.stop_blocking()
    assert ran.returncode == 2
    assert "password authentication failed" in ran.stderr
    assert "hunter2" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("password", ["hun/ter2", "%zzhunter2"])
def test_url_that_is_misread_is_not_repeated(data_dir: Path, password: str) -> None:
    for command in (("tenants", "list"), ("db", "current"), ("doctor",)):
        ran = remit(data_dir, *command, REMIT_DATABASE_URL=f"postgresql://remit:{password}@127.0.0.1/remit")
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert ran.stderr.startswith("error: REMIT_DATABASE_URL does not look like")
        assert "hun" not in ran.stderr
        assert "ter2" not in ran.stderr


@pytest.mark.parametrize("command", ["db upgrade", "doctor --offline", "tenants list"])
def test_data_directory_that_cannot_be_written(command: str) -> None:
    with make_data_dir() as parent:
        data_dir = parent / "data"
        parent.chmod(0o500)
        ran = subprocess.run(
            [sys.executable, "-m", "remit", *command.split()],
            env=clean_environment(REMIT_DATA_DIR=str(data_dir), PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=obey_file_modes,
        )
        parent.chmod(0o700)
    assert ran.returncode == (1 if command.startswith("doctor") else 2), ran.stderr
    assert "Traceback" not in ran.stderr
    said = ran.stdout + ran.stderr
    assert str(data_dir) in said
    assert "--data-dir" in said or "remit db upgrade" in said


def obey_file_modes() -> None:
    """Let the modes of files bind root too: its two capabilities to pass over them are dropped (prctl(2))."""
    if os.geteuid() == 0:
        drop_from_bounding_set, override, read_and_search = 24, 1, 2
        for capability in (override, read_and_search):
            assert ctypes.CDLL(None).prctl(drop_from_bounding_set, capability) == 0


def test_setting_that_does_not_fit(data_dir: Path) -> None:
    ran = remit(data_dir, "tenants", "list", REMIT_PORT="secret-in-the-wrong-place")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert ran.stderr.startswith("error: a setting does not fit: REMIT_PORT: ")
    assert "secret" not in ran.stderr


def test_traceback_only_when_asked_for(installed: Path) -> None:
    quiet, loud = (remit(installed, *flags, "keys", "revoke", "x") for flags in ((), ("--debug",)))
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1] == quiet.stderr.strip()


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


def test_schema_that_lacks_what_a_route_asks(data_dir: Path, tmp_path: Path) -> None:
    shipped = files("remit.authz").joinpath("schema.zed").read_text()
    schema = tmp_path / "short.zed"
    schema.write_text(re.sub(r"    permission share = .*\n", "", shipped))
    ran = remit(data_dir, "serve", "--port", "0", REMIT_AUTHZ_SCHEMA=str(schema))
    assert ran.returncode == 2
    assert "share" in ran.stderr
    assert ran.stderr.count("error: ") == 1
