"""`remit …` as its users run it: each command in a process of its own, but forked from one that has loaded the code.

Loading takes a second of processor time, and hundreds of commands are run. That every command also starts from nothing
is shown by its examples, which are run without this.
"""

import atexit
import gc
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from support.processes import clean_environment

LONGEST_SECONDS = 120
_server: subprocess.Popen[str] | None = None


def remit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command.

    Args:
        arguments: of `remit`.
        environment: variables besides those of this process that are not Remit's.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        request = {
            "arguments": arguments,
            "environment": clean_environment(**environment),
            "cwd": str(Path.cwd()),
            "output": [str(out), str(err)],
        }
        code = _ask(request)
        said = [file.read_text() for file in (out, err)]
    if code is None:
        raise subprocess.TimeoutExpired(["remit", *arguments], LONGEST_SECONDS, *said)
    return subprocess.CompletedProcess(["remit", *arguments], code, *said)


def _ask(request: Mapping[str, Any]) -> int | None:
    global _server  # noqa: PLW0603 - one for all tests of this process
    if _server is None or _server.poll() is not None:
        environment = {**clean_environment(), "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, "-m", "support.commands"]
        _server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(_end, _server)
    assert _server.stdin is not None, "it is a pipe"
    assert _server.stdout is not None, "it is a pipe"
    _server.stdin.write(json.dumps(request) + "\n")
    _server.stdin.flush()
    code: int | None = json.loads(_server.stdout.readline())
    return code


def _end(server: subprocess.Popen[str]) -> None:
    server.communicate()


def _load() -> None:
    import remit

    for module in pkgutil.walk_packages(remit.__path__, "remit."):
        if not module.name.startswith(("remit.migrations.versions", "remit.migrations.env", "remit.__main__")):
            import_module(module.name)
    gc.collect()
    gc.freeze()


def _serve() -> None:
    """Fork for each line of standard input; this process has no thread, so that the copy is whole."""
    _load()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(request)
        sys.stdout.write(json.dumps(_wait(pid)) + "\n")
        sys.stdout.flush()


def _wait(pid: int) -> int | None:
    """The exit code as `subprocess` has it; None for one that took too long and was killed."""
    ended = os.pidfd_open(pid)
    in_time = select.select([ended], [], [], LONGEST_SECONDS)[0]
    os.close(ended)
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if in_time else None


def _run(request: Mapping[str, Any]) -> NoReturn:
    for target, path in ((0, os.devnull), *enumerate(request["output"], 1)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), target)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["remit", *request["arguments"]]
    from remit.cli import main

    code: Any = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: an interpreter that ends in order takes apart all that was loaded, and so copies it first.
    os._exit(code)


if __name__ == "__main__":
    _serve()
