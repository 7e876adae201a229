"""Counters of deliveries to an engine elsewhere, for Prometheus and, where one is named, for a DogStatsD.

One cycle is everything that a request, or the worker, does to deliver one resource's change: `attempt` is counted once
for it, `retry` once per repeat, and exactly one of `success` and `failure` at its end.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

from remit.db.pool import UNREACHABLE, Database
from remit.errors import Unavailable

log = structlog.get_logger(__name__)

Op = Literal["register", "deregister"]
By = Literal["request", "worker"]
Step = Literal["attempt", "success", "retry", "failure"]

LAG = Histogram(
    "remit_outbox_lag_seconds",
    "Time from the commit of a change until an engine elsewhere has it.",
    ["type"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 45, 60, 300, 3600),
)
PENDING = Gauge("remit_outbox_pending", "Changes that an engine elsewhere does not have yet.", ["kind"])
OLDEST = Gauge("remit_outbox_oldest_seconds", "Age of the oldest change that is not delivered.", ["kind"])
DEAD = Gauge("remit_outbox_dead", "Changes that were given up and wait for a decision.")

# The contract's name of the resource in its counters.
_NAMES = {"api_key": "agent_api_keys"}


MEASURE_SECONDS = 5
_MEASURE = """
SELECT kind, count(*) FILTER (WHERE dead_at IS NULL) AS pending, count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
       coalesce(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE dead_at IS NULL)), 0)::float8
         AS age
  FROM outbox CROSS JOIN LATERAL (VALUES ('any'), (CASE WHEN revocation > 0 THEN 'revocation' END)) k (kind)
 WHERE kind IS NOT NULL GROUP BY kind
"""
# Ages of the oldest revocation at which it is told, in seconds: it is denied locally all the while.
WARN_SECONDS, CRITICAL_SECONDS = 15, 45


async def measure_outbox(database: Database) -> None:
    """Set the gauges of what waits; a revocation that waits for long is logged."""
    async with database.connection() as connection:
        rows = {row["kind"]: row for row in await connection.fetch(_MEASURE)}
    for kind in ("any", "revocation"):
        PENDING.labels(kind).set(rows[kind]["pending"] if kind in rows else 0)
        OLDEST.labels(kind).set(rows[kind]["age"] if kind in rows else 0)
    DEAD.set(rows["any"]["dead"] if "any" in rows else 0)
    age = rows["revocation"]["age"] if "revocation" in rows else 0
    if age >= WARN_SECONDS:
        tell = log.critical if age >= CRITICAL_SECONDS else log.warning
        tell("a revocation is not delivered", seconds=round(age), pending=rows["revocation"]["pending"])


async def run_measure(database: Database) -> None:
    """Measure every few seconds until cancelled."""
    while True:
        with contextlib.suppress(Unavailable, *UNREACHABLE):
            await measure_outbox(database)
        await asyncio.sleep(MEASURE_SECONDS)


@cache
def _counter(resource_type: str, step: Step) -> Counter:
    name = f"{_NAMES.get(resource_type, resource_type)}_fgac_dual_write_{step}"
    labels = ["op", "by", "exception_class"] if step == "failure" else ["op", "by"]
    return Counter(name, f"Deliveries of {resource_type} relationships to an engine elsewhere: {step}.", labels)


class DeliveryCounters:
    """Counts the steps of deliveries.

    Args:
        statsd: `host:port` of a DogStatsD, None for none.
    """

    def __init__(self, statsd: str | None = None) -> None:
        self._statsd: Any = _open_statsd(statsd) if statsd else None
        for step in ("attempt", "success", "retry", "failure"):
            _counter("task", step)  # so that a scrape shows it before the first task

    def count(self, resource_type: str, step: Step, op: Op, by: By, exception_class: str | None = None) -> None:
        """Count one step.

        Args:
            resource_type: whose relationships are delivered.
            step: of the cycle.
            op: whether the resource is there or gone.
            by: who delivers.
            exception_class: why a cycle failed.
        """
        labels: Mapping[str, str] = {"op": op, "by": by}
        if step == "failure":
            labels = {**labels, "exception_class": exception_class or "Unknown"}
        _counter(resource_type, step).labels(**labels).inc()
        if self._statsd is not None:
            tags = [f"op:{op}"] + ([f"exception_class:{exception_class or 'Unknown'}"] if step == "failure" else [])
            name = _NAMES.get(resource_type, resource_type)
            self._statsd.increment(f"{name}_fgac_dual_write.{step}", tags=tags)

    def close(self) -> None:
        """Close the socket of the DogStatsD."""
        if self._statsd is not None:
            self._statsd.close_socket()


def _open_statsd(address: str) -> Any:
    try:
        from datadog.dogstatsd.base import DogStatsd
    except ImportError as error:
        raise RuntimeError('REMIT_STATSD needs the extra: pip install "remit[telemetry]"') from error
    host, _, port = address.rpartition(":")
    return DogStatsd(host=host or "127.0.0.1", port=int(port), disable_telemetry=True, disable_buffering=True)
