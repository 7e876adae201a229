"""Every command's help has an example, and every example runs."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from support.processes import clean_environment, free_port, wait_until_answering

from remit.cli import make_app

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
LAST = ("worker enqueue", "worker", "agents delete", "db dump", "db restore", "db stop", "demo")
# The id in the example is nobody's; and nothing is asked to stop that does not run.
REFUSED = {"keys revoke": "there is no key"}


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


def test_every_example_runs(data_dir: Path) -> None:
    middle = [name for name in COMMANDS if name not in (*FIRST, *LAST, "serve")]
    environment = clean_environment(REMIT_DATA_DIR=str(data_dir))
    for name in (*FIRST, *middle, *LAST):
        for example in examples_of(name):
            ran = subprocess.run(
                [sys.executable, "-m", *shlex.split(example)],
                env=environment,
                cwd=data_dir,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            said = f"{example}\n{ran.stdout}{ran.stderr}"
            assert ran.returncode == (2 if name in REFUSED else 0), said
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
        text=True,
    )
    try:
        wait_until_answering(f"http://127.0.0.1:{port}/readyz", process)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert re.search(r"remit_user_\w{49}", said), "the first admin's key is shown"
