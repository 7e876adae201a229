"""Puts random worlds to the embedded engine, to the oracle and to a real SpiceDB until the time is over.

    scripts/fuzz --minutes 10 --seed 1

Exit 0 when all agree, 1 on a disagreement (a shrunk case is printed as a validation file), 2 when a judge is missing
or the questions were too lopsided to mean much.
"""

# ruff: noqa: T201 - it prints what it found

import argparse
import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import asyncpg
import psycopg
from authz.differential import DEEP, GIVES_UP, SLOW, find_disagreements, render_case
from authz.generate import Case, make_case
from authz.judge import Judge
from authz.tally import Tally
from support.databases import run_server

from remit.authz.errors import SchemaError
from remit.migrations.run import upgrade

SHRINK_SECONDS = 60
LEAST_SHARE = 0.2
LOST_PLACE = "the driver lost its connection, world asked again"
MOST_LOST = 5
TOO_LARGE = "tolerated: the engine refuses a permission as too large, world left out"
MOST_GIVEN_UP = 0.02


def main() -> int:
    parser = argparse.ArgumentParser(description="The engine, the oracle and SpiceDB on random worlds.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine-only", action="store_true", help="leave SpiceDB out (the oracle judges alone)")
    arguments = parser.parse_args()
    if not arguments.engine_only:
        try:
            Judge().close()
        except (RuntimeError, ImportError) as error:
            print(f"no judge: {error}", file=sys.stderr)
            return 2
    with run_server() as server:
        upgrade(server.dsn)
        with writing_beside(server.dsn):
            return fuzz(server.dsn, arguments.minutes * 60, arguments.seed, not arguments.engine_only)


class Asker:
    """Puts worlds to the judges over a connection, which it makes anew when the driver loses it."""

    def __init__(self, dsn: str, judge: Judge | None) -> None:
        self._dsn = dsn
        self._judge = judge
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(asyncpg.connect(dsn))

    def ask(self, case: Case, into: Tally) -> list[str]:
        """Sentences about what differs."""
        while True:
            try:
                return self._loop.run_until_complete(find_disagreements(case, self._connection, into, self._judge))
            except SchemaError as error:
                # The engine says no to the schema by name, so that there is no answer to compare.
                if "too large to compile" not in str(error):
                    raise
                into.count(TOO_LARGE)
                return []
            except (asyncpg.InternalClientError, asyncpg.InterfaceError):
                # Time ran out between asyncpg's Describe and its Flush (docs/engine.md): it lost its place, which says
                # nothing about the engine. Schemas that take about as long to prepare are rare, and so must this be.
                into.count(LOST_PLACE)
                if into.answers[LOST_PLACE] > MOST_LOST:
                    raise
                self._connection.terminate()
                self._connection = self._loop.run_until_complete(asyncpg.connect(self._dsn))

    def close(self) -> None:
        """Close the connection."""
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()


def fuzz(dsn: str, seconds: float, start_seed: int, with_spicedb: bool) -> int:
    """Run until the time is over or something disagrees; print the tally; return the exit code."""
    tally, started = Tally(), time.monotonic()
    worlds = 0
    failure: Case | None = None
    notes: list[str] = []
    judge = Judge() if with_spicedb else None
    asker = Asker(dsn, judge)
    ask = asker.ask

    try:
        for worlds in itertools.count():
            if time.monotonic() > started + seconds:
                break
            case = make_case(Random(f"{start_seed}/{worlds}"))
            if notes := ask(case, tally):
                failure = case
                break
        judges = ("engine", "oracle", "spicedb") if with_spicedb else ("engine", "oracle")
        outcome = report(tally, worlds, time.monotonic() - started, judges)
        if failure is None:
            print("0 disagreements")
            return outcome
        # What is slow one time and not another may not be there again.
        print(f"DISAGREEMENT in world {start_seed}/{worlds}:", *notes, sep="\n  ", flush=True)
        case = shrink(failure, lambda smaller: bool(ask(smaller, Tally())))
        print(render_case(case, ask(case, Tally())))
        return 1
    finally:
        if judge is not None:
            judge.close()
        asker.close()


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Leave out questions, then relationships, as long as the judges still disagree, for a minute at most."""
    until = time.monotonic() + SHRINK_SECONDS
    for name in ("questions", "relationships"):
        index = 0
        while index < len(getattr(case, name)) and time.monotonic() < until:
            items = getattr(case, name)
            smaller = replace(case, **{name: items[:index] + items[index + 1 :]})
            if fails(smaller):
                case = smaller
            else:
                index += 1
    return case


@contextmanager
def writing_beside(dsn: str) -> Iterator[None]:
    """Another connection commits writes to the tables that are asked, all the time."""
    ending = threading.Event()

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not ending.wait(0.002):
                connection.execute(
                    "INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id,"
                    " subject_relation) VALUES (32767, gen_random_uuid(), 32767, 32767, gen_random_uuid(), 0)"
                )
                connection.execute("DELETE FROM relationships WHERE resource_type = 32767")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def report(tally: Tally, worlds: int, seconds: float, judges: Sequence[str]) -> int:
    """Print what was asked and answered; return 2 when the questions were too lopsided to mean much."""
    answers = tally.answers
    questions = sum(answers[f"engine {kind}"] for kind in ("allow", "deny", DEEP, SLOW))
    print(f"{worlds} worlds, {questions} questions, {questions / max(seconds, 0.001):.0f} questions per second")
    for judge in judges:
        allows, denials = tally.share(judge, ("allow",)), tally.share(judge, ("deny",))
        print(f"  {judge:<8} answered {allows + denials:6.1%}: {allows:.1%} allows, {denials:.1%} denials")
    for name, count in sorted(answers.items()):
        print(f"    {name:<62}{count:>8}")
    lowest = min(tally.share("engine", (kind,)) for kind in ("allow", "deny"))
    alone = sum(count for name, count in answers.items() if name.startswith(GIVES_UP)) / max(questions, 1)
    print(f"the rarer answer is {lowest:.0%} of all (at least {LEAST_SHARE:.0%})")
    print(f"the engine gave up where SpiceDB answered on {alone:.2%} (at most {MOST_GIVEN_UP:.0%})")
    left_out = answers[TOO_LARGE] / max(worlds, 1)
    print(
        f"worlds left out because a permission was too large to compile: {left_out:.2%} (at most {MOST_GIVEN_UP:.0%})"
    )
    return 0 if lowest >= LEAST_SHARE and max(alone, left_out) <= MOST_GIVEN_UP else 2


if __name__ == "__main__":
    sys.exit(main())
