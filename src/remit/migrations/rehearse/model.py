"""What a rehearsal finds. Times are in milliseconds, rows and bytes are counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["reader", "writer", "control"]


@dataclass(frozen=True)
class LockHold:
    """A lock that a statement took on a table or an index that others use.

    Args:
        relation: its name, with the schema unless that is `public`.
        mode: as `pg_locks` spells it, for instance `AccessExclusiveLock`.
        held_ms: until its transaction ended.
        inherited: whether an earlier statement of the transaction took it, and this one ran under it.
    """

    relation: str
    mode: str
    held_ms: float
    inherited: bool = False


@dataclass(frozen=True)
class Growth:
    """How a statement's duration grows with the table.

    Args:
        rows: the two sizes that were measured.
        duration_ms: what it took at each.
        kind: `constant`, `linear` or the like, in words.
        extrapolated_rows: the size that was asked for, where it is larger than what was measured.
        extrapolated_ms: its duration there by a straight line through the two: an extrapolation, not a measurement.
        extrapolated_stall_ms: the same of the longest stall.
    """

    rows: tuple[int, int]
    duration_ms: tuple[float, float]
    kind: str
    extrapolated_rows: int | None = None
    extrapolated_ms: float | None = None
    extrapolated_stall_ms: float | None = None


@dataclass
class StatementReport:
    """What one statement did to readers and writers of the tables.

    Args:
        read_stall_ms: the longest that a reader of a touched table waited, and `write_stall_ms` a writer.
        noise_ms: the longest that a reader of an unrelated table waited meanwhile: what the machine itself does.
        lock_wait_ms: the longest that a reader or a writer was seen waiting for a lock.
        shape: its text before values were put in.
        times: how often it was sent; more than once for a loop, whose figures are put together.
        rewritten: the tables and indexes that were written anew.
        emptied: those that got a new file without rows instead, as TRUNCATE does: nothing is copied.
        started_ms: after the first statement of the revision.
        wal_bytes: without what the writers wrote.
        interrupted: what a second run makes of a revision that was ended after this statement, by how it was ended.
    """

    revision: str
    sql: str
    shape: str = ""
    times: int = 1
    started_ms: float = 0.0
    duration_ms: float = 0.0
    read_stall_ms: float = 0.0
    write_stall_ms: float = 0.0
    noise_ms: float = 0.0
    lock_wait_ms: float = 0.0
    locks: list[LockHold] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    wal_bytes: int = 0
    autocommit: bool = False
    growth: Growth | None = None
    interrupted: dict[str, str | None] = field(default_factory=dict)
    error: str | None = None

    @property
    def max_stall_ms(self) -> float:
        """The longer of the two stalls."""
        return max(self.read_stall_ms, self.write_stall_ms)

    @property
    def rewrite(self) -> bool:
        """Whether a table or an index was written anew."""
        return bool(self.rewritten)

    def stalls_beyond(self, limit_ms: float) -> bool:
        """Whether a reader or a writer waited longer than allowed, and not because the machine was busy otherwise."""
        stall = self.max_stall_ms
        if self.growth is not None and self.growth.extrapolated_stall_ms is not None:
            stall = max(stall, self.growth.extrapolated_stall_ms)
        return stall > limit_ms and (self.lock_wait_ms > limit_ms or stall - self.noise_ms > limit_ms)


@dataclass(frozen=True)
class Noise:
    """The probes' own latency in a window before the revision."""

    median_ms: float
    p99_ms: float
    max_ms: float
    requests: int


@dataclass(frozen=True)
class Request:
    """One request of a probe, as times of the monotonic clock in seconds."""

    table: str
    role: Role
    start: float
    end: float
    error: str | None = None


@dataclass(frozen=True)
class QueryResult:
    """What became of one of the old code's queries.

    Args:
        error: None where it works as before.
        made_up: whether it is only what an ORM might send, and not known to be sent by anybody.
    """

    sql: str
    error: str | None
    made_up: bool = False


@dataclass
class RevisionReport:
    """One revision.

    Args:
        rows: of each touched table, at the larger of the two sizes.
        requests: of the probes beside the measured run; `origin` is the time at which it began.
        asked: the rows that the extrapolations are for.
    """

    revision: str
    title: str
    statements: list[StatementReport]
    rows: Mapping[str, int]
    noise: Noise | None
    requests: list[Request]
    origin: float
    queries: list[QueryResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    probe_errors: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    asked: int = 0

    @property
    def retry_safe(self) -> bool:
        """Whether the revision can be ended after any statement and run again."""
        return self.error is None and not any(any(item.interrupted.values()) for item in self.statements)


@dataclass
class Report:
    """All revisions of a rehearsal."""

    rows: int
    max_stall_ms: float
    revisions: list[RevisionReport]
    server: str
    seconds: float = 0.0

    @property
    def statements(self) -> list[StatementReport]:
        """Of all revisions."""
        return [statement for revision in self.revisions for statement in revision.statements]

    @property
    def retry_safe(self) -> bool:
        """Whether all revisions are."""
        return all(revision.retry_safe for revision in self.revisions)

    @property
    def failed(self) -> bool:
        """Whether a person should change something before the revisions meet a database in use."""
        return (
            not self.retry_safe
            or any(revision.error for revision in self.revisions)
            or any(statement.error or statement.stalls_beyond(self.max_stall_ms) for statement in self.statements)
            or any(query.error and not query.made_up for revision in self.revisions for query in revision.queries)
        )
