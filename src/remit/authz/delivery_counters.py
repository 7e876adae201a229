"""Counters of deliveries to an engine elsewhere, for Prometheus and, where one is named, for a DogStatsD.

One cycle is everything that a request, or the worker, does to deliver one resource's change: `attempt` is counted once
for it, `retry` once per repeat, and exactly one of `success` and `failure` at its end.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from prometheus_client import Counter, Histogram

Op = Literal["register", "deregister"]
By = Literal["request", "worker"]
Step = Literal["attempt", "success", "retry", "failure"]

LAG = Histogram(
    "remit_outbox_lag_seconds",
    "Time from the commit of a change until an engine elsewhere has it.",
    ["type"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 45, 60, 300, 3600),
)

# The contract's name of the resource in its counters.
_NAMES = {"api_key": "agent_api_keys"}


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
