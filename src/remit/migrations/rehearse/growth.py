"""How a statement's duration grows with the tables."""

import math

from remit.migrations.rehearse.model import Growth, StatementReport

_FELT_MS = 5.0


def describe_growth(
    small: StatementReport, large: StatementReport, sizes: tuple[int, int], asked: int
) -> Growth | None:
    """Compare two sizes; None where they are the same.

    Args:
        small: the statement on the smaller tables.
        large: the same on the larger.
        sizes: their rows.
        asked: the rows to extrapolate to, where that is more than the larger size.
    """
    if sizes[0] >= sizes[1]:
        return None
    kind = _name_growth(small.duration_ms, large.duration_ms, sizes)
    beyond = asked > sizes[1]
    return Growth(
        sizes,
        (small.duration_ms, large.duration_ms),
        kind,
        asked if beyond else None,
        _extend(small.duration_ms, large.duration_ms, sizes, asked) if beyond else None,
        _extend(small.max_stall_ms, large.max_stall_ms, sizes, asked) if beyond else None,
    )


def _name_growth(small: float, large: float, sizes: tuple[int, int]) -> str:
    if large < _FELT_MS:
        return "too short to tell"
    exponent = math.log(large / max(small, 0.1)) / math.log(sizes[1] / sizes[0])
    if exponent < 0.25:
        return "hardly grows"
    if exponent < 0.75:
        return "grows slower than the table"
    return "grows with the table" if exponent < 1.35 else "grows faster than the table"


def _extend(small: float, large: float, sizes: tuple[int, int], asked: int) -> float:
    """A straight line through both. What did not grow by more than its noise is taken as constant."""
    if large < _FELT_MS or large <= small:
        return large
    return large + (large - small) / (sizes[1] - sizes[0]) * (asked - sizes[1])
