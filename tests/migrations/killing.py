"""Migrators in processes of their own, each killed when one of its statements is on its way to the server."""

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from remit.migrations import run
from remit.migrations.runner.model import Limits
from remit.migrations.runner.project import upgrade_project
from remit.migrations.runner.sql import read_words

Migrate = Callable[[Callable[[str], None]], None]
"""Migrates, and tells what it does."""
Wanted = Callable[[str, str], bool]
"""Whether to kill with a statement; it is given the one before and the statement."""

_COUNTED = ("ALTER", "COMMIT", "CREATE", "DO", "DROP", "INSERT", "UPDATE")
_QUICK = Limits(lock_timeout=2, attempts=60, pause=0.01, longest_pause=0.05, turn=60)
_PRELOAD = ["remit.migrations.run", "remit.migrations.runner.project", "sqlalchemy.dialects.postgresql.psycopg"]
_SECONDS = 60


def migrate_own(dsn: str, tell: Callable[[str], None]) -> None:
    """Bring a database to the newest revision of Remit."""
    run.upgrade(dsn, "head", _QUICK, tell)


def migrate_project(config: Path, tell: Callable[[str], None]) -> None:
    """Bring the database of a project to its head, with nothing left behind."""
    outcome = upgrade_project(config, "head", _QUICK, tell)
    if outcome.left:
        raise RuntimeError(f"left behind: {outcome.left}")


class Killer:
    """Stands between migrators and the server. `dsn` is the way through it.

    Args:
        dsn: the database.
        folder: for its socket.
    """

    def __init__(self, dsn: str, folder: Path) -> None:
        server = conninfo_to_dict(dsn)
        name = f".s.PGSQL.{server.get('port', 5432)}"
        self.dsn = dsn.replace(str(server["host"]), str(folder))
        self.lines: list[str] = []
        self._upstream = str(Path(str(server["host"])) / name)
        self._wanted: Wanted = lambda *_: False
        self._migrator: Any = None
        self._last = ""
        self._killed: str | None = None
        self._looking = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / name))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def kill_at_each(self, migrate: Migrate) -> list[str]:
        """Run a migrator again and again, each time as far as a statement at which none was killed yet.

        Returns these statements. The run after the last of them went through.
        """
        done: set[tuple[str, str]] = set()
        killed: list[str] = []

        def is_new(before: str, statement: str) -> bool:
            known = len(done)
            done.add((before, statement))
            return len(done) > known

        while (statement := self.run(migrate, is_new)) is not None:
            killed.append(" ".join(statement.split()))
        return killed

    def run(self, migrate: Migrate, wanted: Wanted = lambda *_: False) -> str | None:
        """Run a migrator, and kill it with a statement that is wanted; None where it came to its end.

        What it told is in `lines`; it raises AssertionError if it failed.
        """
        self.start(migrate, wanted)
        return self.finish()

    def start(self, migrate: Migrate, wanted: Wanted = lambda *_: False) -> None:
        """Start a migrator, for `finish`."""
        with self._looking:
            self._last, self._killed, self._wanted = "", None, wanted
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(_PRELOAD)
            self.lines = []
            self._told, theirs = context.Pipe(duplex=False)
            self._migrator = context.Process(target=_obey, args=(migrate, theirs), daemon=True)
            self._migrator.start()
            theirs.close()

    def read_line(self) -> str:
        """The next line that it tells."""
        assert self._told.poll(_SECONDS), "it tells nothing more"
        self.lines.append(self._told.recv())
        return self.lines[-1]

    def finish(self) -> str | None:
        """Wait for the end of the migrator, as `run` does."""
        with suppress(EOFError):
            while True:
                self.read_line()
        self._migrator.join(_SECONDS)
        assert self._migrator.exitcode == (0 if self._killed is None else -signal.SIGKILL), self.lines
        return self._killed

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._upstream)
                threading.Thread(target=self._send_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := server.recv(1 << 16):
                client.sendall(data)

    def _send_on(self, client: socket.socket, server: socket.socket) -> None:
        """Whole messages, so that a statement has arrived when its sender is killed."""
        with suppress(OSError, EOFError):
            try:
                server.sendall(_read_message(client, kind=b""))
                while True:
                    message = _read_message(client, kind=_read(client, 1))
                    server.sendall(message)
                    self._look(message)
            finally:
                server.shutdown(socket.SHUT_RDWR)

    def _look(self, message: bytes) -> None:
        text = {b"Q": message[5:], b"P": message[5:].partition(b"\0")[2]}.get(message[:1], b"")
        statement = text.partition(b"\0")[0].decode()
        if "".join(read_words(statement.upper(), 1)) in _COUNTED:
            with self._looking:
                before, self._last = self._last, statement
                if self._killed is None and self._wanted(before, statement):
                    self._killed = statement
                    os.kill(self._migrator.pid, signal.SIGKILL)


@contextmanager
def open_killer(dsn: str) -> Iterator[Killer]:
    """A killer for a database, as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="remit-", dir="/tmp") as folder:  # a socket's path must be short
        killer = Killer(dsn, Path(folder))
        try:
            yield killer
        finally:
            killer.listener.close()


def _obey(migrate: Migrate, pipe: Any) -> None:
    try:
        migrate(pipe.send)
    except BaseException as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise


def _read(source: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = source.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _read_message(source: socket.socket, kind: bytes) -> bytes:
    length = _read(source, 4)
    return kind + length + _read(source, int.from_bytes(length, "big") - 4)
