"""The real run: the revision beside readers and writers, as it would run on a server in use."""

import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest

from remit.migrations.rehearse.child import Order
from remit.migrations.rehearse.migrator import Message, Migrator, start
from remit.migrations.rehearse.model import Noise, Request
from remit.migrations.rehearse.probes import Spec, start_probes
from remit.migrations.rehearse.server import Connection, ScratchServer
from remit.migrations.rehearse.trace import Lock, Relations

_WARM_UP_SECONDS = 0.2
_AFTERWARDS_SECONDS = 0.2
_PAUSE_SECONDS = 0.003


@dataclass
class Window:
    """A statement in time, by the monotonic clock in seconds.

    Args:
        until: when the next one began, or its transaction was over.
        released: when its transaction was over.
    """

    sql: str
    shape: str
    autocommit: bool
    start: float
    end: float = 0.0
    until: float = 0.0
    released: float = 0.0

    @property
    def ends_transaction(self) -> bool:
        """Whether nothing that it locked stays locked: it is one of its own, or the end of one."""
        return self.autocommit or self.sql.lstrip().upper().startswith(("COMMIT", "ROLLBACK", "END"))


@dataclass
class Span:
    """Something that lasted."""

    start: float
    end: float


@dataclass
class Measured:
    """What a run left behind.

    Args:
        locks: when each lock was seen held.
        waits: when a probe was seen waiting for a lock.
        wal: times, and how many bytes of WAL the server had written by then.
    """

    windows: list[Window] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    locks: dict[Lock, list[Span]] = field(default_factory=dict)
    waits: list[Span] = field(default_factory=list)
    wal: list[tuple[float, int]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    noise: Noise | None = None
    began: float = 0.0
    ended: float = 0.0
    error: str | None = None
    failed_in_statement: bool = False

    @cached_property
    def wal_times(self) -> list[float]:
        """The times at which the WAL was looked at."""
        return [at for at, _ in self.wal]


def measure(
    server: ScratchServer, database: str, order: Order, specs: Sequence[Spec], baseline_seconds: float
) -> Measured:
    """Run a revision once, with probes before, meanwhile and after.

    Args:
        server: where the database is.
        database: full of rows, and not used again.
        order: without a handshake: nothing waits for the measurement.
        specs: what the probes send.
        baseline_seconds: how long to watch the probes before the revision.
    """
    found = Measured()
    with server.connect(database) as connection, start_probes(specs, server.dsn(database)) as probes:
        time.sleep(_WARM_UP_SECONDS)
        sampler = Sampler(connection, probes.pids, found)
        baseline = time.monotonic()
        while time.monotonic() < baseline + baseline_seconds:
            sampler.sample(0)
            time.sleep(_PAUSE_SECONDS)
        found.began = time.monotonic()
        with start(order) as migrator:
            _follow(migrator, sampler, found)
        found.ended = time.monotonic()
        sampler.close_all()
        time.sleep(_AFTERWARDS_SECONDS)
        found.requests = probes.stop()
        found.noise = _describe_noise([item for item in found.requests if baseline <= item.start < found.began - 0.05])
        _close_windows(found)
    return found


def _follow(migrator: Migrator, sampler: "Sampler", found: Measured) -> None:
    pid = 0
    pending: deque[Message] = deque()
    while True:
        message = migrator.receive(0 if pending else _PAUSE_SECONDS)
        if message is not None:
            pending.append(message)
            if message[0] not in ("failed", "done"):
                continue
        sampler.sample(pid)
        while pending:
            item = pending.popleft()
            if item[0] in ("failed", "done"):
                sampler.sample(pid)
                _finish(item, found)
                return
            pid = _note(item, found) or pid


def _note(message: Message, found: Measured) -> int | None:
    """Keep what a message tells; the migrator's session where it names it."""
    match message:
        case ("before", at, _, sql, shape, autocommit, backend):
            found.windows.append(Window(sql, shape, autocommit, at))
            return int(backend or 0)
        case ("after", at, *_):
            found.windows[-1].end = at
        case ("commit", at):
            found.commits.append(at)
    return None


def _finish(message: Message, found: Measured) -> None:
    if message[0] == "failed":
        found.error, found.failed_in_statement = str(message[2]), bool(message[3])
        if found.windows and not found.windows[-1].end:
            found.windows[-1].end = message[1]


def _close_windows(found: Measured) -> None:
    """What happens until the next statement, or until the locks are gone, belongs to the one before."""
    for window, following in zip_longest(found.windows, found.windows[1:]):
        # One that failed, and whose failure the revision caught, has no end of its own.
        window.end = window.end or (following.start if following is not None else found.ended)
        if window.autocommit:
            window.until = window.end
        elif following is not None:
            window.until = following.start
        else:
            commits = [at for at in found.commits if at >= window.end]
            held = [span.end for spans in found.locks.values() for span in spans if span.end > window.end]
            window.until = max([window.end, *commits[:1], *held])
    following = None
    for window in reversed(found.windows):
        window.released = window.until
        if following is not None and not window.ends_transaction and not following.autocommit:
            committed = any(window.end <= at <= following.start for at in found.commits)
            window.released = window.until if committed else following.released
        following = window


def _describe_noise(requests: Sequence[Request]) -> Noise | None:
    took = sorted((item.end - item.start) * 1000 for item in requests)
    if len(took) < 2:
        return None
    return Noise(statistics.median(took), took[int(len(took) * 0.99)], took[-1], len(took))


class Sampler:
    """Looks at the migrator's locks, at probes that wait, and at the WAL."""

    def __init__(self, connection: Connection, probes: Sequence[int], found: Measured) -> None:
        self._connection = connection
        self._probes = list(probes)
        self._found = found
        self._relations = Relations(connection)
        self._held: dict[Lock, Span] = {}
        self._waiting: dict[int, Span] = {}

    def sample(self, pid: int) -> None:
        """Look once.

        A lock that is seen was held at a moment between question and answer, so it was certainly held from the first
        answer to the last question: an answer that comes late does not make it one of the next statement.
        """
        asked = time.monotonic()
        rows = self._connection.execute(
            "SELECT pid, relation::bigint, mode, granted, wal FROM "
            "(SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS wal) AS now LEFT JOIN pg_locks "
            "ON (pid = %s AND locktype = 'relation') OR (NOT granted AND pid = ANY(%s))",
            [pid, self._probes],
        ).fetchall()
        now = time.monotonic()
        self._found.wal.append((now, rows[0][4]))
        held, waiting = set(), set()
        for owner, oid, mode, granted, _ in rows:
            if owner == pid and granted and pid:
                lock = self._relations.name(oid, mode)
                if lock is not None:
                    held.add(lock)
                    self._held.setdefault(lock, Span(now, asked)).end = asked
            elif owner in self._probes:
                waiting.add(owner)
                self._waiting.setdefault(owner, Span(now, now)).end = now
        for lock in self._held.keys() - held:
            self._found.locks.setdefault(lock, []).append(self._held.pop(lock))
        for probe in self._waiting.keys() - waiting:
            self._found.waits.append(self._waiting.pop(probe))

    def close_all(self) -> None:
        """Keep what was seen last."""
        for lock, span in self._held.items():
            self._found.locks.setdefault(lock, []).append(span)
        self._found.waits += self._waiting.values()
