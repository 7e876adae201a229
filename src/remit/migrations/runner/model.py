"""What a run is told, and what it says."""

from collections.abc import Callable
from dataclasses import dataclass, field

from remit.db.errors import MigrationError

Tell = Callable[[str], None]
"""Receives what happens, a line at a time."""


@dataclass(frozen=True)
class Limits:
    """How long a run waits.

    Args:
        lock_timeout: the longest that a statement waits for a lock, in seconds; everybody behind it waits as long.
        attempts: how often a step is tried.
        pause: seconds after the first attempt; doubled each time, give or take a half, up to `longest_pause`.
        longest_pause: seconds; below `idle_in_transaction_session_timeout`, since a transaction may be open.
        turn: how long to wait for another migrator, in seconds.
    """

    lock_timeout: float = 3.0
    attempts: int = 10
    pause: float = 1.0
    longest_pause: float = 20.0
    turn: float = 600.0


@dataclass(frozen=True)
class Blocker:
    """A session that another one waits for."""

    pid: int
    description: str
    query: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.description}): {self.query}"


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Args:
        before: the revisions that the database was at.
        after: those it is at now.
        revisions: what ran, in order.
        left: sentences about invalid indexes and unvalidated constraints that somebody has to look at.
        notes: sentences about those that were there before, or that later revisions deal with.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    revisions: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


class LockedError(MigrationError):
    """A step did not get its lock in all of its attempts; a later run goes on from there."""
