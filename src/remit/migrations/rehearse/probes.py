"""Readers and writers of the touched tables, in a process of their own.

All wait in one loop over their sockets, so that they disturb each other by microseconds: a request's time ends when its
answer can be read, whatever the others do.
"""

import contextlib
import gc
import heapq
import multiprocessing
import selectors
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any

from psycopg import pq

from remit.migrations.rehearse.errors import RehearseError
from remit.migrations.rehearse.model import Request, Role

_LEAST_INTERVAL = 0.004
_INTERVAL_FOR_EACH = 0.0025
_SECONDS_FOR_THE_LAST = 10.0


@dataclass(frozen=True)
class Spec:
    """One probe: what it sends in turn."""

    table: str
    role: Role
    statements: tuple[str, ...]


class _Probe:
    def __init__(self, spec: Spec, dsn: str) -> None:
        self.spec = spec
        self.connection = pq.PGconn.connect(f"{dsn}&application_name=remit%20rehearse%20probe".encode())
        if self.connection.status != pq.ConnStatus.OK:
            raise RehearseError(f"a probe cannot connect: {self.connection.get_error_message()}")
        self.connection.nonblocking = 1
        self._turn = 0
        self._sent = 0.0
        self._error: str | None = None

    def send(self) -> None:
        statement = self.spec.statements[self._turn % len(self.spec.statements)]
        self._turn += 1
        self._error = None
        self._sent = time.monotonic()
        self.connection.send_query(statement.encode())
        self.connection.flush()

    def receive(self, now: float) -> Request | None:
        """Its answer if that is complete."""
        self.connection.consume_input()
        while not self.connection.is_busy():
            result = self.connection.get_result()
            if result is None:
                return Request(self.spec.table, self.spec.role, self._sent, now, self._error)
            if result.status == pq.ExecStatus.FATAL_ERROR:
                message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
                self._error = message.decode(errors="replace")
        return None

    def give_up(self) -> Request:
        """What is known of a request that is still waiting."""
        return Request(self.spec.table, self.spec.role, self._sent, time.monotonic(), "no answer")


def _run(specs: Sequence[Spec], dsn: str, pipe: Pipe) -> None:
    probes = [_Probe(spec, dsn) for spec in specs]
    gc.collect()
    gc.freeze()
    gc.disable()
    interval = max(_LEAST_INTERVAL, _INTERVAL_FOR_EACH * len(probes))
    requests: list[Request] = []
    pipe.send([probe.connection.backend_pid for probe in probes])
    with selectors.DefaultSelector() as selector:
        selector.register(pipe.fileno(), selectors.EVENT_READ, None)
        for probe in probes:
            selector.register(probe.connection.socket, selectors.EVENT_READ, probe)
        start = time.monotonic()
        due = [(start + interval * number / len(probes), number) for number in range(len(probes))]
        waiting: set[int] = set()
        stop_at: float | None = None
        while stop_at is None or (waiting and time.monotonic() < stop_at):
            now = time.monotonic()
            while stop_at is None and due and due[0][0] <= now:
                _, number = heapq.heappop(due)
                probes[number].send()
                waiting.add(number)
            timeout = max(due[0][0] - time.monotonic(), 0) if due and stop_at is None else 0.05
            for key, _ in selector.select(timeout):
                if key.data is None:
                    pipe.recv()
                    selector.unregister(pipe.fileno())
                    stop_at = time.monotonic() + _SECONDS_FOR_THE_LAST
                    continue
                request = key.data.receive(time.monotonic())
                if request is not None:
                    number = probes.index(key.data)
                    waiting.discard(number)
                    requests.append(request)
                    heapq.heappush(due, (request.end + interval, number))
    requests += [probes[number].give_up() for number in waiting]
    pipe.send(requests)


class Probes:
    """Probes that run; `pids` are those of their sessions, in the order of the specifications."""

    def __init__(self, pipe: Pipe, pids: list[int]) -> None:
        self._pipe = pipe
        self.pids = pids
        self.requests: list[Request] = []

    def stop(self) -> list[Request]:
        """End them; all their requests."""
        self._pipe.send("stop")
        self.requests = self._pipe.recv()
        return self.requests


@contextlib.contextmanager
def start_probes(specs: Sequence[Spec], dsn: str) -> Iterator[Probes]:
    """Run probes for as long as the block lasts.

    Raises:
        RehearseError: they cannot connect.
    """
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(list(specs), dsn, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        try:
            pids = ours.recv()
        except EOFError as error:
            raise RehearseError("the readers and writers did not start") from error
        yield Probes(ours, pids)
    finally:
        process.kill()
        process.join()
        ours.close()
