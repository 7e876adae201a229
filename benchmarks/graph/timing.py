"""Timing that a busy machine disturbs little: every row is asked in turn, and only rows of one run are compared."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from remit.db.pool import Connection, Database

Ask = Callable[[Connection], Awaitable[object]]


@dataclass(slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: what is asked.
        ask: asks it once, on a connection, each time about something else.
        reference: the name of the row that it is compared with, None for a reference itself.
        target: the most that it may cost, as a multiple of the reference; None where nothing is demanded.
        writes: it writes rows, so it has its turn after all that only reads.
        seconds: what each call took on one connection.
        crowded: the same with 16 connections at work.
        rate: calls per second with 16 connections.
    """

    name: str
    ask: Ask
    reference: str | None = None
    target: float | None = None
    writes: bool = False
    seconds: list[float] = field(default_factory=list)
    crowded: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def percentile(self, share: float, *, crowded: bool = False) -> float:
        """Seconds within which this share of the calls was answered."""
        times = sorted(self.crowded if crowded else self.seconds)
        return times[min(len(times) - 1, int(len(times) * share))]

    def ratios(self, known: dict[str, "Row"]) -> tuple[float, float]:
        """How many times its reference it costs: at the median, and at the tenth fastest of a hundred calls."""
        reference = known[self.reference] if self.reference else self
        median, quiet = (self.percentile(share) / reference.percentile(share) for share in (0.5, 0.1))
        return median, quiet

    def fewer(self, known: dict[str, "Row"]) -> float:
        """How many times fewer calls per second than of its reference, with many connections; 0 where not measured."""
        return max(known[self.reference].rate) / max(self.rate) if self.reference and self.rate else 0.0

    def missed(self, known: dict[str, "Row"]) -> bool:
        """Whether it costs more than its target, at the median, at the quietest or with many connections."""
        return self.target is not None and max(*self.ratios(known), self.fewer(known)) > self.target


async def measure(database: Database, rows: list[Row], rounds: int, seed: int) -> None:
    """Ask every row once per round on one connection, in a new order each round.

    Args:
        database: whose connections are used.
        rows: get their `seconds`.
        rounds: how many calls each row gets.
        seed: of the order.
    """
    shuffle = random.Random(seed)
    async with database.connection() as connection:
        for _ in range(3):
            for row in rows:
                await row.ask(connection)
        order = list(rows)
        for _ in range(rounds):
            shuffle.shuffle(order)
            for row in order:
                started = time.perf_counter()
                await row.ask(connection)
                row.seconds.append(time.perf_counter() - started)


async def measure_crowded(database: Database, rows: list[Row], connections: int, rounds: int, seconds: float) -> None:
    """Ask each row on many connections at once, for a while, one row after the other, several times over.

    Args:
        database: whose connections are used.
        rows: get their `crowded` and `rate`.
        connections: how many.
        rounds: how often each row has its turn.
        seconds: how long a turn is.
    """

    async def work(row: Row, until: float) -> int:
        done = 0
        async with database.connection() as connection:
            await row.ask(connection)
            # At least once, however long it takes.
            while (started := time.perf_counter()) < until or not done:
                await row.ask(connection)
                row.crowded.append(time.perf_counter() - started)
                done += 1
        return done

    for turn in range(rounds + 1):
        for row in rows:
            if turn == 1:
                row.crowded.clear()
            started = time.perf_counter()
            # The first round only prepares the statements on all connections.
            until = started + (seconds if turn else 0.0)
            done = await asyncio.gather(*(work(row, until) for _ in range(connections)))
            if turn:
                row.rate.append(sum(done) / (time.perf_counter() - started))


HEADER = (
    "| asked | p50 ms | p99 ms | times the reference | at its quietest | target | "
    "| 16 connections: p50 ms | p99 ms | per second | fewer than the reference |"
)


def render(rows: list[Row]) -> str:
    """The table in Markdown: p50 and p99, and how many times its reference each row costs.

    `at its quietest` compares the tenth fastest of a hundred calls, which neighbours on the machine disturb least.
    """
    known = {row.name: row for row in rows}
    lines = [HEADER, "| --- | --: | --: | --: | --: | --: | --- | --: | --: | --: | --: |"]
    for row in rows:
        verdict = "" if row.target is None else "**missed**" if row.missed(known) else "met"
        wide = ("", "", "", "")
        if row.rate:
            wide = (*_crowded(row), f"{row.fewer(known):.1f}x" if row.reference else "")
        ratios = [f"{ratio:.1f}x" for ratio in row.ratios(known)] if row.reference else ["reference", ""]
        lines.append(
            f"| {row.name} | {_times(row)} | {ratios[0]} | {ratios[1]} "
            f"| {f'{row.target:g}x' if row.target else ''} | {verdict} | {' | '.join(wide)} |"
        )
    return "\n".join(lines)


BESIDE_HEADER = (
    "| asked | p50 ms | p99 ms | SpiceDB: p50 ms | p99 ms | times as long | at its quietest | target | "
    "| 16 at once: per second | SpiceDB: per second | times as many |"
)


def render_beside(rows: list[Row]) -> str:
    """The table in Markdown of rows whose reference is the same question to the engine: how much longer they take."""
    known = {row.name: row for row in rows}
    lines = [BESIDE_HEADER, "| --- | --: | --: | --: | --: | --: | --: | --: | --- | --: | --: | --: |"]
    for row in rows:
        if row.reference not in known or row.target is None:
            continue
        ours, ratios = known[row.reference], row.ratios(known)
        verdict = "met" if min(ratios) >= row.target else "**missed**"
        wide = ("", "", "")
        if row.rate:
            rates = max(ours.rate), max(row.rate)
            wide = (f"{rates[0]:,.0f}", f"{rates[1]:,.0f}", f"{rates[0] / rates[1]:.0f}x")
        lines.append(
            f"| {ours.name} | {_times(ours)} | {_times(row)} | {ratios[0]:.0f}x | {ratios[1]:.0f}x "
            f"| {row.target:g}x | {verdict} | {' | '.join(wide)} |"
        )
    return "\n".join(lines)


def _times(row: Row) -> str:
    return f"{row.percentile(0.5) * 1000:.3f} | {row.percentile(0.99) * 1000:.2f}"


def _crowded(row: Row) -> tuple[str, str, str]:
    times = [f"{row.percentile(share, crowded=True) * 1000:.2f}" for share in (0.5, 0.99)]
    return times[0], times[1], f"{max(row.rate):,.0f}"
