"""`scripts/fault --runs N --seed S`: break connections and processes at every known message, and check what is left.

Exit 0 when every run ended clean, 1 when one did not, 2 when there was nothing to run on. With `--mutant NAME` a fault
is planted in the product, and exit 0 says that it was found.
"""

# ruff: noqa: T201 - it prints what it found

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from faults.beside import ENGINES, EngineName
from faults.choose import Plan, choose
from faults.gate import Point
from faults.planted.mutants import MUTANTS
from faults.runs import CleanRunFails, Outcome, Runner
from faults.site import open_site
from remit.authz.modes import MODES, Mode


class Report:
    """Counts outcomes, and tells failures as they come."""

    def __init__(self, runs: int, *, each: bool) -> None:
        self._runs = runs
        self._each = each
        self._began = time.monotonic()
        self.known: set[tuple[EngineName, Mode, Point]] = set()
        self.hit: set[tuple[EngineName, Mode, Point]] = set()
        self.done = 0
        self.failed: list[Outcome] = []
        self.kinds: Counter[tuple[EngineName, str]] = Counter()
        self.left = 0
        self.commands: list[str] = []
        self.unreached = 0
        self.planted: str | None = None

    def add(self, engine: EngineName, outcome: Outcome) -> None:
        """Count a run."""
        plan = outcome.plan
        self.done += 1
        self.kinds[engine, plan.kind] += 1
        if plan.point is not None and outcome.hit:
            self.hit.add((engine, plan.mode, plan.point))
        self.unreached += not outcome.hit
        if self._each:
            print(f"run {plan.number} on {engine}, {outcome.seconds:.1f} s: {plan}")
        if outcome.problems:
            self.failed.append(outcome)
            print(f"FAILED run {plan.number} on {engine}: {plan}  (history: {outcome.history})")
            for problem in outcome.problems[:8]:
                print(f"    {problem}")
        if self.done % 25 == 0:
            seconds = time.monotonic() - self._began
            print(f"{self.done}/{self._runs} runs, {len(self.failed)} failed, {seconds / self.done:.2f} s each")
        sys.stdout.flush()

    def tell(self) -> None:
        """The whole."""
        print(f"points hit: {len(self.hit & self.known)} of {len(self.known)} known")
        for (engine, mode), count in sorted(Counter((engine, mode) for engine, mode, _ in self.known).items()):
            hit = sum((e, m) == (engine, mode) for e, m, _ in self.hit & self.known)
            print(f"  {engine:8} {mode:8} {hit:4} of {count}")
        for engine in dict.fromkeys(engine for engine, _ in sorted(self.kinds)):
            kinds = sorted((name, count) for (of, name), count in self.kinds.items() if of == engine)
            print(f"faults on {engine}: " + ", ".join(f"{name} {count}" for name, count in kinds))
        if self.left:
            print(f"left at the provider by old calls that arrived last, of resources that are gone: {self.left}")
        for problem in self.commands:
            print(f"FAILED at the end: {problem}")
        print(f"runs: {self.done}, failed: {len(self.failed)}, whose message never came: {self.unreached}")


async def run_site(  # noqa: C901 - a loop over modes and one over plans
    engine: EngineName,
    arguments: argparse.Namespace,
    part: int,
    report: Report,
    folder: Path,
    opening: asyncio.Lock,
) -> None:
    """A site's share of the runs."""
    logs = folder / f"{engine}-{part}"
    async with AsyncExitStack() as stack:
        async with opening:  # one after the other: each takes all that the machine has
            site = await stack.enter_async_context(open_site(engine, logs, mutant=arguments.mutant))
            runner = await stack.enter_async_context(Runner(site, logs))
        known: dict[Mode, Sequence[Point]] = {}
        try:
            for mode in arguments.modes:
                known[mode] = await runner.learn(mode)
                report.known.update((engine, mode, point) for point in known[mode])
        except CleanRunFails as found:
            if not arguments.mutant:
                raise
            report.planted = str(found)
            return
        if arguments.points:
            for mode, points in known.items():
                for point in points:
                    print(
                        f"{engine} {mode} {point.operation} {point.kind} {point.direction} {point.number} {point.label}"
                    )
        engines = arguments.engines
        sites = len(engines) * arguments.sites
        numbers = range(part * len(engines) + engines.index(engine) + 1, arguments.runs + 1, sites)
        plans: list[Plan] = choose(known, arguments.seed, numbers, part, arguments.sites)
        for plan in plans:
            if (arguments.only and plan.number != arguments.only) or (arguments.kind and plan.kind != arguments.kind):
                continue
            if arguments.minutes and time.monotonic() > arguments.until:
                return
            report.add(engine, await runner.run(plan))
            if report.failed and arguments.mutant:
                return
        report.left += runner.left
        if not report.failed:
            report.commands += await runner.run_command()


async def main(arguments: argparse.Namespace) -> int:
    """Run them all."""
    this = asyncio.current_task()
    assert this is not None, "it runs in one"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="remit-fault-"))
    report = Report(arguments.runs, each=arguments.each)
    arguments.until = time.monotonic() + (arguments.minutes or 0) * 60
    opening = asyncio.Lock()
    tasks = [
        asyncio.create_task(run_site(engine, arguments, part, report, folder, opening))
        for engine in arguments.engines
        for part in range(arguments.sites)
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        report.tell()
    if arguments.mutant:
        where = f"a run without a fault: {report.planted}" if report.planted else f"run {report.done}"
        found = bool(report.planted or report.failed)
        print(f"mutant `{arguments.mutant}`: " + (f"found in {where}" if found else "NOT FOUND"))
        return 0 if found else 1
    return 1 if report.failed or report.commands else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/fault", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="both by default; with --mutant only SpiceDB")
    parser.add_argument("--sites", type=int, default=1, help="installations of each engine side by side")
    parser.add_argument("--minutes", type=float, help="start no run after so long")
    parser.add_argument("--only", type=int, help="only the run of this number")
    parser.add_argument("--kind", help="only runs of this fault or condition")
    parser.add_argument("--each", action="store_true", help="tell of each run, with its seconds")
    parser.add_argument("--points", action="store_true", help="list the known points")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="plant a fault in the product, which must be found")
    parser.add_argument("--folder", help="for logs, and histories of runs that failed")
    # Pools that try again while the database is away say so at length.
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)
    given = parser.parse_args()
    given.engines = given.engines or (["spicedb"] if given.mutant else list(ENGINES))
    sys.exit(asyncio.run(main(given)))
