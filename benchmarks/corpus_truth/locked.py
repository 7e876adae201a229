"""Locks that keep others out while the table is worked on, failures, and rows that one transaction holds."""

from corpus_truth.case import SIZES, Bench, Evidence
from corpus_truth.watch import STRONG, Run, Seen, watch

_GROWS = 5
"""A tenth of the rows, and at most a fifth of the work: it depends on the size of the table."""


def prove_work_under_lock(bench: Bench, rule: str, case: str) -> Evidence:
    """Rows that are read, or a table that is written anew, while a lock keeps writers out."""
    small, large = _run_twice(bench, rule, case)
    if large.error:
        return Evidence(True, f"fails: {large.error}")
    if large.rewritten:
        return Evidence(True, f"writes `{'`, `'.join(large.rewritten)}` anew, under {_name_locks(large.statements)}")
    for few, many in zip(small.statements, large.statements, strict=True):
        held = {name: mode for name, mode in many.locks.items() if mode in STRONG}
        handled = [(name, few.read[name], count) for name, count in many.read.items() if _grows(few.read[name], count)]
        if held and handled:
            name, before, after = handled[0]
            return Evidence(True, f"reads {after:,} rows of `{name}` ({before:,} in the small one) under {_show(held)}")
    return Evidence(False, f"no row is read under a lock that keeps writers out; {_name_locks(large.statements)}")


def prove_failure(bench: Bench, rule: str, case: str) -> Evidence:
    """It fails where there are rows."""
    with bench.open(rule, case) as place:
        run = watch(place)
    return Evidence(bool(run.error), f"fails: {run.error}" if run.error else "runs")


def prove_rows_held(bench: Bench, rule: str, case: str) -> Evidence:
    """How many rows of a table one transaction writes: they stay locked, and twice there, until it commits."""
    small, large = (_most_written(run) for run in _run_twice(bench, rule, case))
    if _grows(small[0], large[0]):
        return Evidence(
            True, f"one transaction writes {large[0]:,} rows of `{large[1]}` ({small[0]:,} in the small one)"
        )
    return Evidence(False, f"no transaction writes more than {large[0]:,} rows of a table in use")


def _run_twice(bench: Bench, rule: str, case: str) -> tuple[Run, Run]:
    runs = []
    for rows in SIZES:
        with bench.open(rule, case, rows) as place:
            runs.append(watch(place))
    return runs[0], runs[1]


def _most_written(run: Run) -> tuple[int, str]:
    found: dict[tuple[object, str], int] = {}
    for number, seen in enumerate(run.statements):
        transaction = seen.transaction if seen.transaction is not None else f"alone {number}"
        for name, count in seen.wrote.items():
            found[transaction, name] = found.get((transaction, name), 0) + count
    return max(((count, name) for (_, name), count in found.items()), default=(0, ""))


def _grows(small: int, large: int) -> bool:
    return large >= SIZES[1] // 2 - 1 and large >= _GROWS * small


def _show(locks: dict[str, str]) -> str:
    return ", ".join(f"{mode.removesuffix('Lock')} on `{name}`" for name, mode in sorted(locks.items()))


def _name_locks(statements: list[Seen]) -> str:
    held: dict[str, str] = {}
    for seen in statements:
        held |= {name: mode for name, mode in seen.locks.items() if mode in STRONG}
    return f"{_show(held)}" if held else "no such lock at all"
