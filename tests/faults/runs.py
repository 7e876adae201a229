"""One run after the other on a site: break something, let it settle, look at what is left and at what was seen."""

import asyncio
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from support.graph import Party
from support.processes import clean_environment

from faults.checker import check_history
from faults.choose import Plan
from faults.conditions import Conditions
from faults.gate import Point
from faults.history import History, Terms
from faults.leftovers import find_leftovers
from faults.people import People, deliver_all, make_people, make_stranger, open_deliverer
from faults.provider_script import ProviderScript
from faults.script import ANSWER_SECONDS, Script
from faults.site import Site
from remit.agent_api_keys.ending import remove_pending_keys
from remit.authz.delivery import Deliverer
from remit.authz.modes import TYPES, Mode
from remit.authz.reconcile.elsewhere import Projections
from remit.authz.reconcile.reports import Plan as ReconcilePlan
from remit.authz.reconcile.run import Run as Reconciliation
from remit.authz.remote import RemoteError

SETTLE_SECONDS = 60
RUN_SECONDS = 600
BATCH = 8
# The command's own functions compare after each run; its process, which takes a second to start, after some.
COMMAND_EVERY = 20


class CleanRunFails(Exception):
    """A run in which nothing was broken has problems."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        plan: what it did.
        hit: the point was reached; conditions always are.
        problems: what is wrong, empty if nothing is.
        seconds: how long it took.
        history: where its log is.
    """

    plan: Plan
    hit: bool
    problems: tuple[str, ...]
    seconds: float
    history: Path | None


@dataclass
class Runner:
    """Makes runs on a site.

    Args:
        site: where.
        folder: for histories of runs that fail.
        batch: of how many tenants people are made at a time.
        left: how many resources that are gone a provider still holds, since old calls reached it last.
    """

    site: Site
    folder: Path
    batch: int = BATCH
    left: int = 0
    _people: dict[Mode, list[People]] = field(default_factory=dict)
    _made: int = 0

    async def __aenter__(self) -> Self:
        self._deliverer: Deliverer = await open_deliverer(self.site)
        self._http = httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS)
        self._mallory: Party = await make_stranger(self.site)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()
        await self._deliverer.aclose()

    async def learn(self, mode: Mode) -> list[Point]:
        """The points that two clean runs in a mode have in common, once a first one has prepared everything.

        Raises:
            CleanRunFails: a run without a fault fails.
        """
        seen: list[set[Point]] = []
        for _ in range(3):
            plan = Plan(0, mode, "create", condition="nothing")
            outcome = await self.run(plan)
            if outcome.problems:
                raise CleanRunFails(f"a clean run in {mode} fails: {'; '.join(outcome.problems)}")
            seen.append(set(self.site.gate.points))
        return sorted(seen[1] & seen[2])

    async def run(self, plan: Plan) -> Outcome:
        """Do what a plan says."""
        people = await self._next_people(plan.mode)
        judge = "relationships" if plan.mode == "enforce" else "roles"
        path = self.folder / f"{self.site.engine}-{os.getpid()}-{plan.number}.jsonl"
        path.unlink(missing_ok=True)
        history = History(Terms(judge, people.roles), path)  # type: ignore[arg-type]  # one of its two words
        began = time.monotonic()
        gate = self.site.gate
        gate.points.clear()
        gate.disarm()
        gate.hit = False
        if plan.point is not None and plan.fault is not None:
            gate.arm(plan.point, plan.fault)
        conditions = Conditions(self.site, plan, history)
        make_script = Script if self.site.beside.provider is None else ProviderScript
        script = make_script(self.site, people, history, conditions.before, conditions.after, self._http)
        if plan.number and plan.operation not in script.awaited:
            script.awaited = ()
        problems: list[str] = []
        try:
            async with asyncio.timeout(RUN_SECONDS):
                await script.walk()
                await conditions.end()
                problems += await self._settle(people)
                history.mark("settled")
                await script.read_all(self.site.server.url)
                await script.read_all(self.site.reader.url)
                problems += script.problems
                problems += await self._reconcile(people)
                problems += await self._look_at_provider(people, plan)
                if plan.number and plan.number % COMMAND_EVERY == 0:
                    problems += await self.run_command(people.tenant_id)
            problems += [str(one) for one in check_history(history)]
        except TimeoutError:
            problems.append(f"the run did not end in {RUN_SECONDS} seconds")
        except Exception as error:  # noqa: BLE001 - a run that ends so has failed, and the others go on
            problems.append(f"the run ended with {error!r}")
        finally:
            history.close()
            await conditions.end()
        if not problems:
            path.unlink()
        hit = gate.hit or plan.point is None
        return Outcome(plan, hit, tuple(problems), time.monotonic() - began, path if problems else None)

    async def _next_people(self, mode: Mode) -> People:
        waiting = self._people.setdefault(mode, [])
        if not waiting:
            for _ in range(self.batch):
                self._made += 1
                waiting.append(await make_people(self.site, mode, self._made, self._mallory))
            await deliver_all(self.site, self._deliverer)
            if mode != "enforce":
                await asyncio.sleep(2)  # until every process has taken over the modes
        return waiting.pop()

    async def _settle(self, people: People) -> list[str]:
        """Wait until everything is delivered; clocks are moved rather than waited for."""
        site = self.site
        site.gate.disarm()
        await site.gate.release()
        for _ in range(100):
            if not site.gate.dying:
                break
            await asyncio.sleep(0.01)
        await site.revive()
        await site.execute(
            "UPDATE agent_api_keys SET created_at = created_at - interval '6 minutes'"
            " WHERE status = 'pending' AND tenant_id = $1::uuid",
            people.tenant_id,
        )
        await remove_pending_keys(site.seed.database, site.seed.engine)
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            left = await site.fetch(
                "SELECT resource_type, resource_id, dead_at, last_error FROM outbox WHERE tenant_id = $1::uuid",
                people.tenant_id,
            )
            if not left:
                return []
            if time.monotonic() > deadline or all(row["dead_at"] for row in left):
                return [f"not settled: {row['resource_type']} {row['resource_id']} {row['last_error']}" for row in left]
            await site.advance(20)
            await asyncio.sleep(0.1)

    async def _reconcile(self, people: People) -> list[str]:
        """What `remit authz reconcile --tenant` does, without the start of a process."""
        deliverer = self._deliverer
        database, engine = deliverer.database, deliverer.engine
        projections = Projections(database, engine, deliverer.remote, deliverer.names, after_restore=False)
        while True:
            reconciliation = Reconciliation(database, engine, projections, ReconcilePlan())
            try:
                for resource_type in TYPES:
                    await reconciliation.reconcile(people.tenant_id, "of the run", resource_type)
                break
            except RemoteError as error:
                if not error.transient:
                    raise
        return [
            f"reconcile: {one.kind} {one.resource} {one.detail}"
            for one in reconciliation.samples
            if one.is_drift or one.kind in ("pending", "foreign")
        ]

    async def _look_at_provider(self, people: People, plan: Plan) -> list[str]:
        wrong, gone = await find_leftovers(self.site, people)
        if plan.reorders:
            self.left += len(gone)
            return wrong
        return [*wrong, *(f"provider: {one} is gone and still there" for one in gone)]

    async def run_command(self, tenant_id: str | None = None) -> list[str]:
        """What the command itself says of one tenant or of all, as far as it is not clean."""
        named = ("--tenant", tenant_id) if tenant_id else ()
        command = (sys.executable, "-m", "remit", "authz", "reconcile", *named)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=clean_environment(**self.site.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode == 0:
            return []
        return [f"remit authz reconcile ended with {process.returncode}: {said.decode()[-500:]}"]
