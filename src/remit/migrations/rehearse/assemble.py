"""From what was seen to what each statement did."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from remit.migrations.rehearse.growth import describe_growth
from remit.migrations.rehearse.measure import Measured, Span, Window
from remit.migrations.rehearse.model import LockHold, Request, StatementReport
from remit.migrations.rehearse.trace import Trace, TracedStatement

_REPEATED = 10


@dataclass
class Step:
    """A statement of a revision, or one that a loop sent many times, in all of its windows."""

    sql: str
    shape: str
    windows: list[Window] = field(default_factory=list)


def list_steps(windows: Sequence[Window]) -> list[Step]:
    """The statements in order; one that is repeated often stands at its first place only."""
    often = {shape for shape, count in Counter(window.shape for window in windows).items() if count > _REPEATED}
    steps: list[Step] = []
    repeated: dict[str, Step] = {}
    for window in windows:
        step = repeated.get(window.shape)
        if step is None:
            step = Step(window.sql, window.shape)
            steps.append(step)
            if window.shape in often:
                repeated[window.shape] = step
        step.windows.append(window)
    return steps


def assemble(
    revision: str, trace: Trace, large: Measured, small: Measured | None, sizes: tuple[int, int], asked: int
) -> list[StatementReport]:
    """A report of each statement.

    Args:
        revision: its id.
        trace: what is known exactly of each statement.
        large: the run on the larger tables.
        small: the one on the smaller.
        sizes: the rows of the two, the smaller first.
        asked: the rows to extrapolate to.
    """
    stalls = _Stalls(large)
    rate = _find_wal_rate(large)
    steps = list_steps(large.windows)
    before = list_steps(small.windows) if small is not None else []
    reports = []
    for number, step in enumerate(steps):
        traced = _find_traced(trace, step, number)
        text = traced[0].sql if traced else step.sql
        report = StatementReport(
            revision, text, step.shape, times=len(step.windows), autocommit=step.windows[0].autocommit
        )
        report.started_ms = (step.windows[0].start - large.windows[0].start) * 1000
        report.duration_ms = sum(window.end - window.start for window in step.windows) * 1000
        report.locks = _list_locks(step, traced, large)
        report.rewritten = sorted({name for item in traced for name in item.rewritten})
        report.emptied = sorted({name for item in traced for name in item.emptied})
        report.wal_bytes = sum(_count_wal(large, window, rate) for window in step.windows)
        stalls.fill(report, step)
        if number < len(before) and before[number].shape == step.shape and small is not None:
            other = StatementReport(revision, step.sql)
            other.duration_ms = sum(window.end - window.start for window in before[number].windows) * 1000
            _Stalls(small).fill(other, before[number])
            report.growth = describe_growth(other, report, sizes, asked)
        reports.append(report)
    if large.failed_in_statement and reports:
        reports[-1].error = large.error
    return reports


def assemble_traced(revision: str, trace: Trace) -> list[StatementReport]:
    """What the slow run alone tells, of a revision that failed in it."""
    reports = []
    for statement in trace.statements:
        report = StatementReport(revision, statement.sql, statement.shape, autocommit=statement.autocommit)
        report.locks = [LockHold(*lock, 0.0) for lock in sorted(statement.taken)]
        report.locks += [LockHold(*lock, 0.0, inherited=True) for lock in sorted(statement.inherited)]
        report.rewritten, report.emptied = statement.rewritten, statement.emptied
        reports.append(report)
    if reports and trace.failed_in_statement:
        reports[-1].error = trace.error
    return reports


def _find_traced(trace: Trace, step: Step, number: int) -> list[TracedStatement]:
    """The same statement in the slow run, where it may have come at another place."""
    if number < len(trace.statements) and trace.statements[number].shape == step.shape and len(step.windows) == 1:
        return [trace.statements[number]]
    return [item for item in trace.statements if item.shape == step.shape]


def _list_locks(step: Step, traced: Sequence[TracedStatement], measured: Measured) -> list[LockHold]:
    taken = {lock for item in traced for lock in item.taken}
    inherited = {lock for item in traced for lock in item.inherited} - taken
    spans = {lock: _find_spans(measured, lock, step) for lock in measured.locks}
    seen = {lock for lock, found in spans.items() if found} - taken - inherited
    holds = []
    alone = step.windows[0].autocommit
    for lock in taken | inherited | seen:
        found = spans.get(lock) or []
        # A lock that came and went between two looks was held for no longer than its transaction lasted.
        known = lock in taken or lock in inherited
        shortest = max(window.released - window.start for window in step.windows) if known else 0.0
        held = max([shortest, *(span.end - span.start for span in found)])
        holds.append(
            LockHold(*lock, round(held * 1000, 3), inherited=lock in inherited or (lock not in taken and not alone))
        )
    return sorted(holds, key=lambda hold: (hold.relation, hold.mode))


def _find_spans(measured: Measured, lock: tuple[str, str], step: Step) -> list[Span]:
    start, end = step.windows[0].start, step.windows[-1].until
    return [span for span in measured.locks[lock] if span.start < end and span.end > start]


def _find_wal_rate(measured: Measured) -> float:
    """Bytes a second that the writers write, from the time before the revision."""
    before = [item for item in measured.wal if item[0] < measured.began]
    if len(before) < 2:
        return 0.0
    return (before[-1][1] - before[0][1]) / max(before[-1][0] - before[0][0], 0.001)


def _count_wal(measured: Measured, window: Window, rate: float) -> int:
    times = measured.wal_times

    def read(at: float) -> float:
        place = min(max(bisect_right(times, at), 1), len(times) - 1)
        (start, low), (end, high) = measured.wal[place - 1], measured.wal[place]
        return low + (high - low) * min(max((at - start) / max(end - start, 1e-9), 0.0), 1.0)

    if len(times) < 2:
        return 0
    return max(0, int(read(window.until) - read(window.start) - rate * (window.until - window.start)))


class _Stalls:
    """Which statement a probe's request waited for: the one that it overlapped longest."""

    def __init__(self, measured: Measured) -> None:
        self._windows = measured.windows
        self._starts = [window.start for window in measured.windows]
        self._numbers = {id(window): number for number, window in enumerate(measured.windows)}
        self._worst: dict[tuple[int, str], float] = {}
        self._waits: dict[int, float] = {}
        if not measured.windows:
            return
        end = max(window.until for window in measured.windows)
        for request in measured.requests:
            if request.end > self._starts[0] and request.start < end:
                self._share(request)
        for wait in measured.waits:
            for number, overlap in self._overlaps(wait.start, wait.end):
                self._waits[number] = max(self._waits.get(number, 0.0), overlap)

    def fill(self, report: StatementReport, step: Step) -> None:
        """Write the longest stalls into a report."""
        numbers = [self._numbers[id(window)] for window in step.windows]

        def find(role: str) -> float:
            return max((self._worst.get((number, role), 0.0) for number in numbers), default=0.0) * 1000

        report.read_stall_ms, report.write_stall_ms = find("reader"), find("writer")
        report.noise_ms = find("control")
        report.lock_wait_ms = max((self._waits.get(number, 0.0) for number in numbers), default=0.0) * 1000

    def _share(self, request: Request) -> None:
        overlaps = self._overlaps(request.start, request.end)
        longest = max((overlap for _, overlap in overlaps), default=0.0)
        for number, overlap in overlaps:
            felt = request.end - request.start if overlap == longest else overlap
            key = number, request.role
            self._worst[key] = max(self._worst.get(key, 0.0), felt)

    def _overlaps(self, start: float, end: float) -> list[tuple[int, float]]:
        found = []
        for number in range(max(bisect_right(self._starts, start) - 1, 0), len(self._windows)):
            window = self._windows[number]
            if window.start >= end:
                break
            overlap = min(end, window.until) - max(start, window.start)
            if overlap > 0:
                found.append((number, overlap))
        return found
