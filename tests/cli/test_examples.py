"""Every command's help has an example, and every example runs."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import typer
from support.databases import FAST
from support.processes import clean_environment, free_port, wait_until_answering
from support.spicedb_host import TOKEN, run_spicedb

from remit.cli import make_app
from remit.db.embedded import EmbeddedPostgres

_EXAMPLE = re.compile(r"^\s*\$ (remit .*)$", re.MULTILINE)

# In the order of a small story; the commands that are not named here run in the order of the help, after these.
FIRST = (
    "db upgrade",
    "db current",
    "db history",
    "tenants add",
    "users add",
    "service-accounts add",
    "groups add",
    "groups join",
    "agents enroll",
    "authz check",
    "authz grant",
    "authz list",
    "authz revoke",
)
LAST = ("worker enqueue", "worker", "agents delete", "db dump", "db restore", "db stop")
# Before this command, which wants the data for itself, a server is kept up, so that not every command starts one.
FIRST_ALONE = "db restore"
# `serve` and `auth serve` stay up and have tests of their own; `db lint` judges a project under git, which the linter's
# tests make; `authz move` needs a SpiceDB, and the runbooks' tests run its page's commands; the story plays `demo`.
ELSEWHERE = ("serve", "auth serve", "db lint", "db rehearse", "authz move", "demo")
# What an example takes for granted.
BEFORE = {
    "db current": ("remit db upgrade",),
    "authz why": (
        "remit users add bob --tenant acme",
        "remit worker enqueue echo --tenant acme --name report",
        "remit worker --until-idle",
    ),
}
# Where an example has a SpiceDB listen.
SPICEDB = "127.0.0.1:50051"
# Exit codes other than 0: bob may not cancel the task, which is an answer.
CODES = {"authz why": 1}
# The id in the example is nobody's, nothing was given up, and there is no engine elsewhere.
REFUSED = {
    "keys revoke": "there is no key",
    "authz outbox discard": "was given up",
    "auth flags set": "has no engine `spicedb`",
}


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    if path and _EXAMPLE.search(command.help or ""):
        yield " ".join(path), command
    for name, child in command.commands.items():
        yield from walk(child, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(make_app())))


def examples_of(name: str) -> list[str]:
    command = COMMANDS[name]
    return _EXAMPLE.findall(f"{command.help or ''}\n{command.epilog or ''}")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    examples = examples_of(name)
    assert examples, f"`remit {name} --help` shows no example"
    assert all(example.startswith(f"remit {name}") for example in examples)


def write_files(folder: Path) -> None:
    """The files that examples name."""
    schema = files("remit.authz").joinpath("schema.zed").read_text()
    (folder / "my-schema.zed").write_text(
        schema + "\n/** note is a type of the operator's own. */\ndefinition note {}\n"
    )
    (folder / "schema-tests").mkdir()
    (folder / "schema-tests" / "owner.yaml").write_text(
        "schema: |-\n  definition user {}\n  definition document {\n    relation owner: user\n"
        "    permission read = owner\n  }\nrelationships: |-\n  document:plan#owner@user:alice\n"
        "assertions:\n  assertTrue: ['document:plan#read@user:alice']\n"
        "  assertFalse: ['document:plan#read@user:robert']\n"
    )


def run_line(line: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line.replace("remit", f"{shlex.quote(sys.executable)} -m remit", 1),
        shell=True,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def spicedb() -> Iterator[str]:
    with run_spicedb() as process:
        yield process.endpoint


def test_every_example_runs(data_dir: Path, tmp_path: Path, spicedb: str) -> None:
    middle = [name for name in COMMANDS if name not in (*FIRST, *LAST, *ELSEWHERE)]
    environment = clean_environment(
        REMIT_DATA_DIR=str(data_dir), REMIT_PORT=str(free_port()), REMIT_SPICEDB_TOKEN=TOKEN
    )
    write_files(tmp_path)
    server = EmbeddedPostgres.start_blocking(data_dir, options=FAST)
    for name in (*FIRST, *middle, *LAST):
        if name == FIRST_ALONE:
            server.stop_blocking()
        for line in BEFORE.get(name, ()):
            prepared = run_line(line, tmp_path, environment)
            assert prepared.returncode == 0, prepared.stderr
        for example in examples_of(name):
            ran = run_line(example.replace(SPICEDB, spicedb), tmp_path, environment)
            said = f"{example}\n{ran.stdout}{ran.stderr}"
            assert ran.returncode == (2 if name in REFUSED else CODES.get(name, 0)), said
            assert REFUSED.get(name, "") in ran.stderr, said
            assert "Traceback" not in said


def test_serve_example_serves(data_dir: Path) -> None:
    (example,) = examples_of("serve")
    port = free_port()
    arguments = shlex.split(example.replace("5003", str(port)))
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=clean_environment(REMIT_DATA_DIR=str(data_dir)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_answering(f"http://127.0.0.1:{port}/readyz", process)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert re.search(rb"remit_user_\w{49}", said), "the first admin's key is shown"
