"""What a rehearsal is told."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What to rehearse with.

    Args:
        rows: of each touched table.
        stats_from: a server whose statistics give the rows and the proportions in place of `rows`; only read.
        seed_sql: statements that make rows where none can be made up.
        old_queries: of the code that runs while the revision does. Those that the server of `stats_from` was seen to
            run are tried as well, and what an ORM might send.
        measured_rows: the most rows to make; beyond that durations are extrapolated.
        max_stall_ms: what readers and writers may feel.
        retries: whether to interrupt the revision.
        measured: whether to run it beside readers and writers; what it locks and writes anew is looked at in any case,
            on few rows.
        baseline_seconds: how long to watch readers and writers before it.
        postgres: an installation of PostgreSQL in place of the embedded one.
    """

    rows: int = 100_000
    stats_from: str | None = None
    seed_sql: str | None = None
    old_queries: tuple[str, ...] = ()
    measured_rows: int = 1_000_000
    max_stall_ms: float = 50.0
    retries: bool = True
    measured: bool = True
    baseline_seconds: float = 1.0
    postgres: Path | None = None
