"""Starts the migrator's process and hears what it does."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any, Protocol

from remit.migrations.rehearse import child
from remit.migrations.rehearse.child import Order

_PRELOAD = [
    "alembic.command",
    "google.protobuf.json_format",
    "postgast",
    "psycopg",
    "remit.migrations.rehearse.child",
    "remit.migrations.rehearse.probes",
    "sqlalchemy.dialects.postgresql.psycopg",
]

WAITED_FOR = ("before", "after", "ran")
"""The messages after which a run with a handshake waits for `go_on`."""

Message = tuple[Any, ...]


class _Process(Protocol):
    exitcode: int | None

    def start(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool: ...
    def kill(self) -> None: ...


class Migrator:
    """A run of a revision in a process of its own."""

    def __init__(self, process: _Process, pipe: Pipe) -> None:
        self._process = process
        self._pipe = pipe

    def receive(self, timeout: float) -> Message | None:
        """The next message, or None when there is none within so many seconds. The end of the process is one too."""
        try:
            if self._pipe.poll(timeout):
                message: Message = self._pipe.recv()
                return message
        except (EOFError, ConnectionError):
            self._process.join(10)
            return (
                "failed",
                time.monotonic(),
                f"the process that migrates ended with exit code {self._process.exitcode}",
                True,
            )
        return None

    def go_on(self) -> None:
        """Answer a message of a run that waits for that."""
        with suppress(ConnectionError):  # it has ended; the next message says so
            self._pipe.send("go")

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def close(self) -> None:
        """Wait for the end of the process."""
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()


def _choose_context() -> Any:
    """A process that is a copy of a small one with the libraries loaded starts ten times as fast as a new one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


@contextmanager
def start(order: Order) -> Iterator[Migrator]:
    """Run an order in a process of its own."""
    context = _choose_context()
    ours, theirs = context.Pipe()
    process = context.Process(target=child.run, args=(order, theirs), daemon=True)
    process.start()
    theirs.close()
    migrator = Migrator(process, ours)
    try:
        yield migrator
    except BaseException:
        migrator.kill()
        raise
    finally:
        migrator.close()


def run_through(order: Order) -> tuple[str | None, list[Message]]:
    """Run an order to its end; what it failed with, if it did, and the messages."""
    messages: list[Message] = []
    with start(order) as migrator:
        while True:
            message = migrator.receive(3600)
            if message is None:
                raise TimeoutError("the revision has been running for an hour")
            messages.append(message)
            match message[0]:
                case "failed":
                    return str(message[2]), messages
                case "done" | "killed":
                    return None, messages
            if order.handshake and message[0] in WAITED_FOR:
                migrator.go_on()
