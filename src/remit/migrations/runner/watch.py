"""Looks at what a statement waits for, while it waits: afterwards nobody knows."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from remit.migrations.runner.control import Control
from remit.migrations.runner.model import Blocker, Tell
from remit.migrations.runner.sql import shorten

_LONG = 5.0
_POLL = 0.25


class Watcher:
    """A thread that asks for the blockers of the statement that runs."""

    def __init__(self, control: Control, tell: Tell) -> None:
        self._control = control
        self._tell = tell
        self._changed = threading.Condition()
        self._pid: int | None = None
        self._sql = ""
        self._poll = _POLL
        self._since = 0.0
        self._stopped = False
        self.blockers: list[Blocker] = []

    @contextmanager
    def running(self) -> Iterator["Watcher"]:
        """Watch until the block ends."""
        thread = threading.Thread(target=self._loop, name="migration watcher", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify()
            thread.join()

    @contextmanager
    def watch(self, pid: int, sql: str, lock_timeout: float) -> Iterator[None]:
        """Watch one statement; `blockers` has those seen last.

        Args:
            pid: the session that runs it.
            sql: what it is.
            lock_timeout: how long it may wait, in seconds; 0 is without end.
        """
        with self._changed:
            self._pid, self._sql, self._since, self.blockers = pid, sql, time.monotonic(), []
            self._poll = min(_POLL, lock_timeout / 4) if lock_timeout else _POLL
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._pid = None
                self._changed.notify()

    def _loop(self) -> None:
        told = 0.0
        with self._changed:
            while not self._stopped:
                pid, since = self._pid, self._since
                self._changed.wait(self._poll if pid is not None else None)
                if pid is None or self._pid != pid or self._since != since:
                    continue
                found = self._find(pid)
                self.blockers = found or self.blockers
                if found and time.monotonic() - max(since, told) > _LONG:
                    told = time.monotonic()
                    waited = round(told - since)
                    self._tell(f"  waiting for {waited} s: {shorten(self._sql)}")
                    for blocker in found:
                        self._tell(f"    for {blocker}")

    def _find(self, pid: int) -> list[Blocker]:
        try:
            return self._control.find_blockers(pid)
        except psycopg.Error:
            return []  # what it means that the connection is gone, the control knows
