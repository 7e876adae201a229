"""The server as its users start it: a process of its own."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 60


# Below the numbers that the kernel gives to outgoing connections; each process of the tests begins elsewhere.
_FIRST, _LEAST, _END = 10_000 + os.getpid() * 97 % 22_000, 10_000, 32_000
_ports: Iterator[int] = itertools.cycle([*range(_FIRST, _END), *range(_LEAST, _FIRST)])


def free_port() -> int:
    """A port that nobody listens on at this moment, and not one that was given out lately."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("they go round")


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without Remit's own variables, and what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")}
    return {**kept, **more}


@dataclass(frozen=True)
class ServerProcess:
    """A running `remit serve`."""

    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def wait_until_listening(port: int, process: subprocess.Popen[Any], seconds: float = START_SECONDS) -> None:
    """Return when a port of this machine takes connections.

    Raises:
        AssertionError: the process ended, or did not listen in time.
    """

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    _wait_until(listens, process, seconds, f"port {port}")


def wait_until_answering(url: str, process: subprocess.Popen[Any], seconds: float = START_SECONDS) -> None:
    """Return when a GET of `url` is answered 200.

    Raises:
        AssertionError: the process ended, or did not answer in time.
    """

    def answers() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(url, timeout=5, trust_env=False, verify=False).status_code == 200
        return False

    _wait_until(answers, process, seconds, url)


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the process ended with {process.returncode}"
        if ready():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not answer within {seconds} seconds")


@contextmanager
def run_remit(data_dir: Path | None, *, log: Path | None = None, **settings: str) -> Iterator[ServerProcess]:
    """`remit serve` on a data directory, until the end of the block.

    Args:
        data_dir: of the embedded PostgreSQL, None for a database that the settings name.
        log: a file for what it prints.
        settings: variables of the environment, with their prefix.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = clean_environment(**settings)
    if data_dir is not None:
        environment["REMIT_DATA_DIR"] = str(data_dir)
    output = log.open("ab") if log else subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-m", "remit", "serve", "--port", str(port)],
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until_answering(f"{url}/readyz", process)
        yield ServerProcess(url, process)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if log:
            output.close()  # type: ignore[union-attr]  # a file, since `log` was given
