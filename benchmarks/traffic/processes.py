"""The processes of a run, and what the kernel says of them."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60
_TICKS = os.sysconf("SC_CLK_TCK")
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Served:
    """A process that listens.

    Attributes:
        port: where.
        pid: which.
    """

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """What it has used, user and system together."""
        return _read_stat(self.pid).seconds

    def mebibytes(self) -> float:
        """Its memory, shared pages counted in part."""
        return mebibytes(self.pid)


def mebibytes(pid: int) -> float:
    """The memory of a process, shared pages counted in part.

    Raises:
        OSError: it has ended.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@dataclass(frozen=True)
class _Stat:
    parent: int
    seconds: float
    of_ended_children: float


def _read_stat(pid: int) -> _Stat:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, ended_user, ended_system = (int(field) / _TICKS for field in fields[11:15])
    return _Stat(int(fields[1]), user + system, ended_user + ended_system)


def family_cpu_seconds(pid: int) -> float:
    """What a process and its children have used, also those that have ended: of a postmaster, all of PostgreSQL."""
    own = _read_stat(pid)
    total = own.seconds + own.of_ended_children
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (stat := _read_stat(int(folder.name))).parent == pid:
                total += stat.seconds
    return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def run_agent() -> Iterator[Served]:
    """The agent that does nothing."""
    port = free_port()
    with _run([str(_FOLDER / "agent.py"), str(port)], port) as served:
        yield served


@contextmanager
def run_server(dsn: str, agent: Served) -> Iterator[Served]:
    """A server with its log on, as in production; the lines go nowhere."""
    port = free_port()
    command = [str(_FOLDER / "server.py"), "--dsn", dsn, "--port", str(port)]
    with _run([*command, "--agent", f"http://127.0.0.1:{agent.port}"], port) as served:
        yield served


@contextmanager
def _run(arguments: list[str], port: int) -> Iterator[Served]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")}
    log = None if "REMIT_BENCH_SHOW" in os.environ else subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *arguments], env=environment, stderr=log)
    try:
        asyncio.run(_wait_until_listening(process, port))
        yield Served(port, process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def _wait_until_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            if process.poll() is not None:
                raise SystemExit(f"a process of the benchmark ended with {process.returncode}; see REMIT_BENCH_SHOW=1")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
