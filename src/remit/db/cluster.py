"""One PostgreSQL cluster on disk: make it, start its server detached, find out whether it runs, stop it."""

import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from psycopg import pq

from remit.db.binaries import find_kept_binaries
from remit.db.data_dir import DataDirectory, pause
from remit.db.errors import ServerFailedError

logger = logging.getLogger(__name__)

SUPERUSER = "remit"
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "jit": "off",
    # Index-only scans of relationships are fast while the visibility map is fresh.
    "autovacuum_vacuum_scale_factor": "0.01",
    "track_commit_timestamp": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # Neither statements nor the values that a violated constraint names belong in a log file.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
_FAST_SHUTDOWN, _IMMEDIATE_SHUTDOWN = signal.SIGINT, signal.SIGQUIT
_SECONDS_FOR_FAST_SHUTDOWN = 60.0
_SECONDS_FOR_OLD_SERVER = 10.0
_SECONDS_BEFORE_SAYING_SO = 5.0


class Cluster:
    """The cluster of one major version in a data directory."""

    def __init__(self, directory: DataDirectory, major: int) -> None:
        self.directory = directory
        self.major = major
        self.folder = directory.clusters / str(major)
        self.data = self.folder / "data"
        self.server_folder = self.folder / "server"
        self.kept_binaries = find_kept_binaries(self.server_folder)

    @property
    def exists(self) -> bool:
        """Whether it was initialised; a half-made one was never renamed to its place."""
        return (self.data / "PG_VERSION").exists()

    def initialise(self, *, sync: bool) -> None:
        """Make the cluster. A crash on the way leaves a folder that the next attempt replaces.

        Raises ServerFailedError when `initdb` fails.
        """
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self.directory.make_private_folder(fresh)
        self.directory.check_reachable(fresh)
        command = [self.kept_binaries.program("initdb"), "--pgdata", str(fresh), "--username", SUPERUSER]
        command += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C"]
        if self.major >= 17:
            command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        if not sync:
            command += ["--no-sync"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
            **self.directory.account.popen_options,
        )
        if done.returncode != 0:
            raise ServerFailedError(f"cannot initialise PostgreSQL in {fresh}: {_last_lines(done.stderr)}")
        fresh.rename(self.data)

    def launch(self, options: Mapping[str, str], cancelled: threading.Event) -> None:
        """Start the server in a session of its own and return when it answers, however long its recovery takes.

        Raises ServerFailedError, with the end of its log, if it exits; WaitCancelledError if told to stop waiting.
        """
        self.directory.make_private_folder(self.directory.socket_dir)
        self.directory.check_reachable(self.data)
        give_up = time.monotonic() + _SECONDS_FOR_OLD_SERVER
        while True:
            self._clear_pid_file(cancelled)
            log_end = self.directory.log_path.stat().st_size if self.directory.log_path.exists() else 0
            pid = self._spawn(options)
            if self._wait_until_ready(pid, cancelled):
                return
            lines = _read_from(self.directory.log_path, log_end)
            # A killed postmaster's backends notice within moments; until they are gone the data may not be opened.
            if "pre-existing shared memory block" not in lines or time.monotonic() > give_up:
                raise ServerFailedError(
                    f"PostgreSQL did not start: {_last_lines(lines)} (the whole log is in {self.directory.log_path})"
                )
            pause(cancelled)

    def find_pid(self) -> int | None:
        """The process id of the running server, or None. A pid file left by a crash does not count."""
        pid = self._read_pid()
        return pid if pid is not None and is_alive(pid) and self._is_ours(pid) else None

    def is_ready(self) -> bool:
        """Whether the server accepts connections."""
        return pq.PGconn.ping(self.conninfo("postgres").encode()) == pq.Ping.OK  # a plain int in the C build

    def wait_until_ready(self, cancelled: threading.Event) -> bool:
        """Wait for a server that somebody else started; False if it exits before it is ready."""
        pid = self.find_pid()
        return pid is not None and self._wait_until_ready(pid, cancelled)

    def stop(self) -> None:
        """Shut the server down if it runs: fast, and after a minute without waiting for its checkpoint."""
        pid = self.find_pid()
        if pid is None:
            return
        for how in (_FAST_SHUTDOWN, _IMMEDIATE_SHUTDOWN):
            deadline = time.monotonic() + _SECONDS_FOR_FAST_SHUTDOWN
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                return
            while time.monotonic() < deadline:
                if not is_alive(pid):
                    return
                time.sleep(0.02)
        raise ServerFailedError(
            f"PostgreSQL (process {pid}) does not stop; its log is {self.directory.log_path}, end it by hand"
        )

    def conninfo(self, database: str) -> str:
        """A libpq connection string for one database of this cluster."""
        return f"host='{self.directory.socket_dir}' port=5432 user={SUPERUSER} dbname={database} connect_timeout=2"

    def _spawn(self, options: Mapping[str, str]) -> int:
        settings = {**_SETTINGS, "unix_socket_directories": str(self.directory.socket_dir), **options}
        command = [self.kept_binaries.program("postgres"), "-D", str(self.data)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = self.directory.open_log()
        try:
            # The shell goes away at once, so that the server belongs to no Remit process and leaves no zombie.
            started = subprocess.run(
                ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                check=True,
                env=_environment(),
                **self.directory.account.popen_options,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise ServerFailedError(
                f"cannot start PostgreSQL as the user {self.directory.account.name}: {error}"
            ) from error
        finally:
            os.close(log)
        return int(started.stdout)

    def _wait_until_ready(self, pid: int, cancelled: threading.Event) -> bool:
        say_so_at = time.monotonic() + _SECONDS_BEFORE_SAYING_SO
        while not self.is_ready():
            if not is_alive(pid):
                return False
            if time.monotonic() > say_so_at:
                logger.warning(
                    "PostgreSQL is recovering its data, still waiting; its log is %s", self.directory.log_path
                )
                say_so_at = float("inf")
            pause(cancelled)
        return True

    def _read_pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.fsencode(self.data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return True  # a system without /proc: PostgreSQL's own check decides

    def _clear_pid_file(self, cancelled: threading.Event) -> None:
        """Remove a pid file for whose process PostgreSQL would refuse to start, though it is not a running server.

        After a restart of the machine the number may be another process. And a killed server keeps its number until
        its parent waited for it: usually at once, but in a container whose first process does not do that, never.
        """
        deadline = time.monotonic() + _SECONDS_FOR_OLD_SERVER
        while (pid := self._read_pid()) is not None and _has_entry(pid):
            ended = not is_alive(pid)
            if not ended and self._is_ours(pid):
                return
            if not ended or time.monotonic() > deadline:
                (self.data / "postmaster.pid").unlink(missing_ok=True)
                return
            pause(cancelled)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not waited for does not."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    if not _has_entry(pid):
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self").exists()


def _has_entry(pid: int) -> bool:
    """Whether the number is taken, be it by a process that ended and was not waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _environment() -> dict[str, str]:
    """Nothing of the caller's environment: PGDATA, PGOPTIONS and locales must not change what is started."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _read_from(path: Path, offset: int) -> str:
    with path.open("rb") as log:
        log.seek(offset)
        return log.read().decode(errors="replace")


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-4:]) or "it said nothing"
