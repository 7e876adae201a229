"""What a run found, what was wanted of it, and the file that keeps both: every verdict is made here."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One request, measured against another.

    Attributes:
        name: what is asked.
        tasks: how many tasks there were.
        against: the name of the row that it is compared with.
        wanted: at least so much of that row's requests a second; None where nothing is wanted.
        aim: as `wanted`, for what would be better still.
        rates: requests a second, a value a round.
        ratios: to `against`, both measured in that round.
        inserts: to a raw insert, both measured in that round.
        latencies: of all its requests, in milliseconds; kept in memory only.
        p50, p95: of those.
        server_ms: CPU of the server for a request, a value a round.
        database_ms: the same of PostgreSQL.
    """

    name: str
    tasks: int
    against: str
    wanted: float | None = None
    aim: float | None = None
    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    inserts: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    p50: float | None = None
    p95: float | None = None
    server_ms: list[float] = field(default_factory=list)
    database_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The middle one."""
        return statistics.median(self.rates)

    @property
    def ratio(self) -> float:
        """The middle one."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether it is as fast as wanted; None where nothing is wanted."""
        return None if self.wanted is None else self.ratio >= self.wanted


@dataclass
class Limit:
    """A number that may not be more than it should.

    Attributes:
        name: what it is, with its unit.
        value: what was measured.
        most: what it may be; None where it is only told.
        detail: how it came about.
    """

    name: str
    value: float
    most: float | None = None
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is within what it may be; None where it is only told."""
        return None if self.most is None else self.value <= self.most


@dataclass
class Part:
    """What one run measured, and where: nothing of it is compared with another run.

    Attributes:
        name: of the part.
        environment: what it ran on, by name.
        rows: requests.
        limits: other numbers.
    """

    name: str
    environment: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)


@dataclass
class Profile:
    """Where the server's time goes in one request.

    Attributes:
        name: of the request.
        tasks: how many tasks there were.
        environment: what it ran on, by name.
        samples: how many times the running server was looked at.
        layers: by layer, heaviest first, its share of the samples, and that of its system calls.
        own: function, its layer, and the share of samples in which it ran itself.
        cumulative: function, its layer, and the share of samples in which it or what it called ran.
    """

    name: str
    tasks: int
    environment: dict[str, str]
    samples: int
    layers: dict[str, tuple[float, float]]
    own: list[tuple[str, str, float]]
    cumulative: list[tuple[str, str, float]]


@dataclass
class Results:
    """All parts and profiles that a page is made of, by name."""

    parts: dict[str, Part] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)

    def rows(self) -> Iterator[Row]:
        """Of all parts."""
        for part in self.parts.values():
            yield from part.rows

    def missed(self) -> list[Row]:
        """Requests that are slower than wanted."""
        return [row for row in self.rows() if row.met is False]


def share_of(rates: Sequence[float], others: Sequence[float]) -> list[float]:
    """One as a share of the other, round by round.

    Raises:
        ValueError: they are not of the same rounds.
    """
    return [one / other for one, other in zip(rates, others, strict=True)]


def load(file: Path) -> Results:
    """What earlier runs left; nothing where there is no file."""
    if not file.exists():
        return Results()
    kept = json.loads(file.read_text())
    return Results(
        {name: _part(value) for name, value in kept["parts"].items()},
        {name: Profile(**value) for name, value in kept["profiles"].items()},
    )


def save(file: Path, results: Results) -> None:
    """Keep them: single latencies are summed up."""
    kept = asdict(results)
    for part in kept["parts"].values():
        for row in part["rows"]:
            del row["latencies"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_rounded(kept), indent=1) + "\n")


def _part(kept: Mapping[str, Any]) -> Part:
    rows, limits = [Row(**row) for row in kept["rows"]], [Limit(**limit) for limit in kept["limits"]]
    return Part(kept["name"], kept["environment"], rows, limits)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
