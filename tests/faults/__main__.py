"""`scripts/fault --runs N --seed S`: break connections and processes at every known message, and check what is left.

Exit 0 when every run ended clean, 1 when one did not, 2 when there was nothing to run on. With `--mutant NAME` a fault
is planted in the product, and exit 0 says that it was found.
"""

# ruff: noqa: T201 - it prints what it found

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from faults.choose import Plan, choose
from faults.gate import Point
from faults.planted.mutants import MUTANTS
from faults.runs import Outcome, Runner
from faults.site import EngineName, open_site
from remit.authz.modes import MODES, Mode


class Report:
    """Counts outcomes, and tells failures as they come."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._began = time.monotonic()
        self.known: set[tuple[EngineName, Mode, Point]] = set()
        self.hit: set[tuple[EngineName, Mode, Point]] = set()
        self.done = 0
        self.failed: list[Outcome] = []
        self.kinds: Counter[str] = Counter()
        self.unreached = 0

    def add(self, engine: EngineName, outcome: Outcome) -> None:
        """Count a run."""
        plan = outcome.plan
        self.done += 1
        self.kinds[plan.condition or (plan.fault.action if plan.fault else "")] += 1
        if plan.point is not None and outcome.hit:
            self.hit.add((engine, plan.mode, plan.point))
        self.unreached += not outcome.hit
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
        print("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(self.kinds.items())))
        print(f"runs: {self.done}, failed: {len(self.failed)}, whose message never came: {self.unreached}")


async def run_site(
    engine: EngineName, arguments: argparse.Namespace, part: int, parts: int, report: Report, folder: Path
) -> None:
    """A site's share of the runs."""
    logs = folder / f"{engine}-{part}"
    async with open_site(engine, logs, mutant=arguments.mutant) as site, Runner(site, logs) as runner:
        known: dict[Mode, Sequence[Point]] = {}
        for mode in arguments.modes:
            known[mode] = await runner.learn(mode)
            report.known.update((engine, mode, point) for point in known[mode])
        if arguments.points:
            for mode, points in known.items():
                for point in points:
                    print(
                        f"{engine} {mode} {point.operation} {point.kind} {point.direction} {point.number} {point.label}"
                    )
        plans: list[Plan] = choose(known, arguments.seed, arguments.runs, part, parts)
        for plan in plans:
            if arguments.only and plan.number != arguments.only:
                continue
            if arguments.minutes and time.monotonic() > arguments.until:
                return
            report.add(engine, await runner.run(plan))
            if report.failed and arguments.mutant:
                return


async def main(arguments: argparse.Namespace) -> int:
    """Run them all."""
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="remit-fault-"))
    report = Report(arguments.runs)
    arguments.until = time.monotonic() + (arguments.minutes or 0) * 60
    engines: list[EngineName] = ["spicedb"] * arguments.sites
    tasks = [
        asyncio.create_task(run_site(engine, arguments, part, len(engines), report, folder))
        for part, engine in enumerate(engines)
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        report.tell()
    if arguments.mutant:
        print(f"mutant `{arguments.mutant}`: " + (f"found in run {report.done}" if report.failed else "NOT FOUND"))
        return 0 if report.failed else 1
    return 1 if report.failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/fault", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--sites", type=int, default=1, help="installations of each engine side by side")
    parser.add_argument("--minutes", type=float, help="start no run after so long")
    parser.add_argument("--only", type=int, help="only the run of this number")
    parser.add_argument("--points", action="store_true", help="list the known points")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="plant a fault in the product, which must be found")
    parser.add_argument("--folder", help="for logs, and histories of runs that failed")
    sys.exit(asyncio.run(main(parser.parse_args())))
