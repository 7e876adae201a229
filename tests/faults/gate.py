"""What decides about each message: it counts them, and breaks the one that is armed."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["request", "answer"]
State = Literal["up", "down", "slow", "refuses", "hangs"]


@dataclass(frozen=True, order=True)
class Point:
    """A message: the n-th with this label, on connections of a kind, during an operation.

    Attributes:
        operation: of the script.
        kind: whose connections, and to what: `server-db`, `server-engine`, `worker-db`, `worker-engine`.
        direction: from the process, or to it.
        label: what it says.
        number: which of those with this label, from 1.
    """

    operation: str
    kind: str
    direction: Direction
    label: str
    number: int


@dataclass(frozen=True)
class Fault:
    """What becomes of a message.

    Attributes:
        action: `cut`, `delay`, `lose`, `duplicate`, `late`, `kill-server`, `kill-worker`, `pause-server`.
        after: once the message has been passed on, rather than before.
        seconds: how long a delay takes.
        operations: how many more operations end before what is late arrives.
    """

    action: str
    after: bool = False
    seconds: float = 0.0
    operations: int = 1


@dataclass
class Gate:
    """The state of all proxies of a site.

    Attributes:
        seen: how often each message came in this operation.
        background: what processes say by themselves; it is no part of any operation.
        states: of each kind of connection; `up` where it is not named.
        learning: what is said now belongs to the background.
        operation: that runs now.
        points: all that were seen since the list was emptied.
        armed: what is broken, and how.
        hit: it has been.
        dying: it was hit by a fault that kills a process, which comes a moment later.
        slow_seconds: how much each message takes longer while its kind is `slow`.
        held: lets a message through that is held back, with how many operations end before.
        on_hit: does to processes what a fault says.
    """

    seen: Counter[tuple[str, Direction, str]] = field(default_factory=Counter)
    background: set[tuple[str, str]] = field(default_factory=set)
    states: dict[str, State] = field(default_factory=dict)
    learning: bool = False
    operation: str | None = None
    points: list[Point] = field(default_factory=list)
    armed: tuple[Point, Fault] | None = None
    hit: bool = False
    dying: bool = False
    slow_seconds: float = 0.25
    held: list[tuple[int, Callable[[], Awaitable[None]]]] = field(default_factory=list)
    on_hit: Callable[[Fault], Awaitable[None]] | None = None

    def begin(self, operation: str) -> None:
        """Count from 1 again, for an operation."""
        self.operation = operation
        self.seen.clear()

    def end(self) -> None:
        """What comes now belongs to no operation."""
        self.operation = None

    def arm(self, point: Point, fault: Fault) -> None:
        """Break this message once."""
        self.armed, self.hit, self.dying = (point, fault), False, False

    def disarm(self) -> None:
        """Break nothing any more."""
        self.armed = None

    def see(self, kind: str, direction: Direction, label: str) -> Fault | None:
        """Count a message; the fault that it suffers, None for none."""
        if self.learning:
            self.background.add((kind, label))
        if self.operation is None or (kind, label) in self.background:
            return None
        self.seen[kind, direction, label] += 1
        point = Point(self.operation, kind, direction, label, self.seen[kind, direction, label])
        self.points.append(point)
        if self.armed is not None and not self.hit and self.armed[0] == point:
            self.hit = True
            self.dying = self.armed[1].action.startswith("kill")
            return self.armed[1]
        return None

    def hold(self, fault: Fault, let_go: Callable[[], Awaitable[None]]) -> None:
        """Keep a message back until as many operations have ended as the fault says, besides the one that runs."""
        self.held.append((fault.operations + 1, let_go))

    async def release(self) -> None:
        """Let through whatever is held back; it arrives late."""
        held, self.held = self.held, []
        for _, let_go in held:
            await let_go()

    async def release_due(self) -> None:
        """An operation has ended: let through what has waited for it."""
        left = [(operations - 1, let_go) for operations, let_go in self.held]
        self.held = [one for one in left if one[0] > 0]
        for operations, let_go in left:
            if operations <= 0:
                await let_go()
