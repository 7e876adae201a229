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
    "engine-refuses",
    "engine-hangs",
    "engine-away-an-hour",
    "database-restarted",
    "two-workers",
    "clock-skew",
)
# Those that start processes anew take many times as long.
_OFTEN: Final = (4, 4, 4, 4, 4, 2, 1, 0.5)
_REORDER: Final = frozenset(
    {"late", "delay", "duplicate", "lose", "pause-server", "engine-slow", "engine-hangs", "two-workers"}
)
_WRITES: Final = frozenset(
    {"WriteRelationships", *(f"/v1/authz/{verb}" for verb in ("register", "deregister", "grant", "revoke"))}
)
# After the next change, after some more, or once everything is over.
_LATE: Final = (1, 3, 99)
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

    @property
    def kind(self) -> str:
        """The condition, or what happens at the point."""
        return self.condition or (self.fault.action if self.fault else "")

    @property
    def reorders(self) -> bool:
        """Whether an old call to the engine elsewhere may arrive after a newer one."""
        return self.kind in _REORDER

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
            found.append((3, Fault("duplicate")))
        if point.label in _WRITES:
            found += [(4, Fault("late", operations=operations)) for operations in _LATE]
        if point.kind.startswith("server"):
            found += [(0.7, Fault("pause-server"))]
    return found


def choose(known: dict[Mode, Sequence[Point]], seed: int, numbers: Sequence[int], share: int, of: int) -> list[Plan]:
    """The plans of a site: of both stores in turn, each one's points in a random order.

    The engine elsewhere has few points, where alone old writes can come late; the database has many.

    Args:
        known: the points of a clean run in each mode.
        seed: the same seed gives the same plans for the same points.
        numbers: of the runs.
        share: which part of the points is this site's, from 0.
        of: how many sites of this engine share them.
    """
    random = Random(seed)
    all_points = [(mode, point) for mode, points in known.items() for point in points]
    stores = [[one for one in all_points if one[1].kind.endswith(store)] for store in ("engine", "db")]
    order: list[list[tuple[Mode, Point]]] = [[], []]
    plans = []
    for n, number in enumerate(numbers):
        if random.random() < CONDITION_SHARE:
            mode = random.choice([*known, "enforce"])
            (condition,) = random.choices(CONDITIONS, _OFTEN)
            plans.append(Plan(number, mode, random.choice(OPERATIONS), condition=condition))
            continue
        store = n % 2 if stores[n % 2] else 1
        if not order[store]:
            order[store] = random.sample(stores[store], len(stores[store]))[share::of]
        mode, point = order[store].pop()
        weighed = faults_of(point)
        (fault,) = random.choices([fault for _, fault in weighed], [weight for weight, _ in weighed])
        plans.append(Plan(number, mode, point.operation, point, fault))
    return plans
