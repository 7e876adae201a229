"""Statements and probes over time, as numbers for a drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

from remit.migrations.rehearse.model import Request, RevisionReport

_MARGIN = 0.08


@dataclass(frozen=True)
class Series:
    """The longest wait in each slice of time, in milliseconds, for one kind of probe."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Timeline:
    """A revision in slices of time.

    Args:
        start_ms: of the first slice, before the first statement, and therefore negative.
        slice_ms: how long each is.
    """

    start_ms: float
    slice_ms: float
    series: tuple[Series, ...]

    @property
    def end_ms(self) -> float:
        """Of the last slice."""
        return self.start_ms + self.slice_ms * len(self.series[0].values)


def make_timeline(revision: RevisionReport, slices: int) -> Timeline | None:
    """Cut the measured run into slices; None where nothing was measured."""
    if not revision.requests or not revision.statements:
        return None
    last = max(item.started_ms + item.duration_ms for item in revision.statements)
    margin = max(last * _MARGIN, 20.0)
    start, length = -margin, (last + 2 * margin) / slices
    series = []
    for role, name in (("reader", "readers"), ("writer", "writers"), ("control", "unrelated reader")):
        chosen = [item for item in revision.requests if item.role == role]
        if chosen:
            series.append(Series(name, _find_longest(chosen, revision.origin, start, length, slices)))
    return Timeline(start, length, tuple(series))


def _find_longest(
    requests: Sequence[Request], origin: float, start: float, length: float, slices: int
) -> tuple[float, ...]:
    """A request counts in every slice that it lasted through."""
    values = [0.0] * slices
    for request in requests:
        began, ended = (request.start - origin) * 1000, (request.end - origin) * 1000
        first, last = int((began - start) // length), int((ended - start) // length)
        for number in range(max(first, 0), min(last, slices - 1) + 1):
            values[number] = max(values[number], ended - began)
    return tuple(values)
