"""Start to the first 200, and the memory of server and database together: `scripts/bench start`."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

RUNS = 5
GIVE_UP_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve(data_dir: str) -> tuple[subprocess.Popen[bytes], float]:
    """Start a server and return it with the seconds until its first 200."""
    port = free_port()
    environment = {**os.environ, "REMIT_DATA_DIR": data_dir, "REMIT_LOG_LEVEL": "error"}
    started = time.perf_counter()
    server = subprocess.Popen([sys.executable, "-m", "remit", "serve", "--port", str(port)], env=environment)
    while time.perf_counter() - started < GIVE_UP_SECONDS:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
                if response.status == 200:
                    return server, time.perf_counter() - started
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
    raise SystemExit("the server did not start")


def resident_mebibytes(data_dir: str, server: int) -> tuple[float, float]:
    """Memory of the server and of the database's processes, each page that is shared counted once over all."""
    own, database = 0, 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            kibibytes = next(
                int(line.split()[1])
                for line in (folder / "smaps_rollup").read_text().splitlines()
                if line[:4] == "Pss:"
            )
        except (OSError, StopIteration):
            continue
        if int(folder.name) == server:
            own += kibibytes
        elif data_dir.encode() in command or command.startswith(b"postgres: remit"):
            database += kibibytes
    return own / 1024, database / 1024


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as data_dir:
        times = []
        for run in range(RUNS + 1):
            server, seconds = serve(data_dir)
            times.append(seconds)
            if run == RUNS:
                own, database = resident_mebibytes(data_dir, server.pid)
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    warm = sorted(times[1:])
    print(f"start to the first 200: first time {times[0]:.2f} s, warm {warm[RUNS // 2]:.2f} s (median of {RUNS})")
    print(f"memory: server {own:.0f} MiB + database {database:.0f} MiB = {own + database:.0f} MiB")


if __name__ == "__main__":
    main()
