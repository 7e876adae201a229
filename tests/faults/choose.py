"""Which fault a run gets: a point and what happens there, or a condition that lasts for an operation."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from faults.gate import Fault, Point
from faults.script import OPERATIONS
from remit.authz.modes import Mode

CONDITIONS: Final = (
    "engine-down",
    "engine-slow",
    "engine-hangs",
    "engine-away-an-hour",
    "database-restarted",
    "two-workers",
    "clock-skew",
)
# Those that start processes anew take many times as long.
_OFTEN: Final = (4, 4, 4, 4, 2, 1, 0.5)
CONDITION_SHARE: Final = 0.15


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        number: of the run, from 1.
        mode: of the tenant.
        point: where the fault is, None for a condition.
        fault: what happens there.
        condition: what lasts for an operation, None for a point.
        operation: during which one.
    """

    number: int
    mode: Mode
    operation: str
    point: Point | None = None
    fault: Fault | None = None
    condition: str | None = None

    def __str__(self) -> str:
        if self.point is None or self.fault is None:
            return f"{self.mode}: {self.condition} during {self.operation}"
        point, fault = self.point, self.fault
        when = "after" if fault.after else "at"
        return (
            f"{self.mode}: {fault.action} {when} {point.kind} {point.direction} {point.number}"
            f" `{point.label}` of {point.operation}"
        )


def faults_of(point: Point) -> list[tuple[float, Fault]]:
    """What can happen at a point, each with its weight; whatever ends a process costs seconds and is rarer."""
    victim = "kill-worker" if point.kind.startswith("worker") else "kill-server"
    found = [
        (3, Fault("cut")),
        (2, Fault("delay", seconds=0.15)),
        (2, Fault("delay", seconds=0.6)),
        (3, Fault("lose")),
        (0.4, Fault(victim)),
    ]
    if point.direction == "request":
        found += [(3, Fault("cut", after=True)), (0.4, Fault(victim, after=True))]
        if point.kind.endswith("engine"):
            found += [(3, Fault("late")), (3, Fault("duplicate"))]
        if point.kind.startswith("server"):
            found += [(0.7, Fault("pause-server"))]
    return found


def choose(known: dict[Mode, Sequence[Point]], seed: int, runs: int, part: int = 0, parts: int = 1) -> list[Plan]:
    """The plans of a site's share of the runs: points in a random order, each as often as the others.

    Args:
        known: the points of a clean run in each mode.
        seed: the same seed gives the same plans for the same points.
        runs: how many, of all sites together.
        part: which share, from 0.
        parts: how many shares.
    """
    random = Random(seed)
    all_points = [(mode, point) for mode, points in known.items() for point in points]
    order: list[tuple[Mode, Point]] = []
    plans = []
    for number in range(1, runs + 1):
        if random.random() < CONDITION_SHARE:
            mode = random.choice([*known, "enforce"])
            (condition,) = random.choices(CONDITIONS, _OFTEN)
            plans.append(Plan(number, mode, random.choice(OPERATIONS), condition=condition))
            continue
        if not order:
            order = random.sample(all_points, len(all_points))
        mode, point = order.pop()
        weighed = faults_of(point)
        (fault,) = random.choices([fault for _, fault in weighed], [weight for weight, _ in weighed])
        plans.append(Plan(number, mode, point.operation, point, fault))
    return plans[part::parts]
