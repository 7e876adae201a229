"""One run after the other on a site: break something, let it settle, look at what is left and at what was seen."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from support.graph import Party

from faults.checker import check_history
from faults.choose import Plan
from faults.gate import Point, State
from faults.history import History, Terms
from faults.people import People, deliver_all, make_people, open_deliverer
from faults.script import ANSWER_SECONDS, Script
from faults.site import PLANTED, RemitProcess, Site
from remit.agent_api_keys.service import remove_pending_keys
from remit.authz.delivery import Deliverer
from remit.authz.modes import TYPES, Mode
from remit.authz.reconcile.elsewhere import Projections
from remit.authz.reconcile.reports import Plan as ReconcilePlan
from remit.authz.reconcile.run import Run as Reconciliation

SETTLE_SECONDS = 60
HOUR = 3600.0
CONDITION_SECONDS = 1.5
_ENGINES = ("server-engine", "worker-engine")
BATCH = 8


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
    """

    site: Site
    folder: Path
    _people: dict[Mode, list[People]] = field(default_factory=dict)
    _made: int = 0

    async def __aenter__(self) -> Self:
        self._deliverer: Deliverer = await open_deliverer(self.site)
        self._http = httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS)
        other = await self.site.seed.make_tenant()
        self._mallory: Party = await self.site.seed.make_subject(other, f"mallory-{os.getpid()}", "admin")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()
        await self._deliverer.aclose()

    async def learn(self, mode: Mode) -> list[Point]:
        """The points of a clean run in a mode: those of a second one, when everything has been prepared.

        Raises:
            RuntimeError: a run without a fault fails.
        """
        for _ in range(2):
            plan = Plan(0, mode, "create", condition="nothing")
            outcome = await self.run(plan)
            if outcome.problems:
                raise RuntimeError(f"a clean run in {mode} fails: {'; '.join(outcome.problems)}")
        return sorted(set(self.site.gate.points))

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
        script = Script(self.site, people, history, conditions.before, conditions.after, self._http)
        if plan.number and plan.operation not in script.awaited:
            script.awaited = ()
        problems: list[str] = []
        try:
            await script.walk()
            await conditions.end()
            problems += await self._settle(people)
            history.mark("settled")
            await script.read_all(self.site.server.url)
            await script.read_all(self.site.reader.url)
            problems += script.problems
            problems += await self._reconcile(people)
            problems += [str(one) for one in check_history(history)]
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
            for _ in range(BATCH):
                self._made += 1
                waiting.append(await make_people(self.site, mode, self._made, self._mallory))
            await deliver_all(self.site, self._deliverer)
            if mode != "enforce":
                await asyncio.sleep(0.4)  # until every process has taken over the modes
        return waiting.pop()

    async def _settle(self, people: People) -> list[str]:
        """Wait until everything is delivered; clocks are moved rather than waited for."""
        site = self.site
        site.gate.disarm()
        await site.gate.release()
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
        reconciliation = Reconciliation(database, engine, projections, ReconcilePlan())
        for resource_type in TYPES:
            await reconciliation.reconcile(people.tenant_id, "of the run", resource_type)
        return [
            f"reconcile: {one.kind} {one.resource} {one.detail}"
            for one in reconciliation.samples
            if one.is_drift or one.kind in ("pending", "foreign")
        ]


@dataclass
class Conditions:
    """What a plan has last for a while, from the beginning of an operation."""

    site: Site
    plan: Plan
    history: History
    _lasting: "asyncio.Task[None] | None" = None
    _ended: bool = False

    async def before(self, operation: str) -> None:
        """Begin it, if it is this operation's."""
        condition = self.plan.condition
        if operation != self.plan.operation or condition is None:
            return
        if condition == "clock-skew":
            await self._skew("3600" if self.plan.number % 2 else "-3600")
        elif condition == "database-restarted" and self.site.postgres is not None:
            self._lasting = asyncio.create_task(self.site.restart_database())
        elif condition in ("engine-down", "engine-away-an-hour", "two-workers"):
            self._set("down")
            self._lasting = asyncio.create_task(self._come_back(condition))
        elif condition in ("engine-slow", "engine-hangs"):
            self._set("slow" if condition == "engine-slow" else "hangs")
            self._lasting = asyncio.create_task(self._come_back(condition))

    async def after(self, operation: str) -> None:  # noqa: ARG002 - as `before`
        """Start again what has been killed."""
        if not self.site.worker.alive or not self.site.server.alive:
            await self.site.revive()

    async def end(self) -> None:
        """Leave the site as it was."""
        if self._ended:
            return
        self._ended = True
        if self._lasting is not None:
            await self._lasting
        if self.plan.condition == "clock-skew":
            await self._skew(None)
        for process in self.site.extra:
            process.end()
        self.site.extra.clear()

    async def _come_back(self, condition: str) -> None:
        await asyncio.sleep(CONDITION_SECONDS)
        if condition == "engine-away-an-hour":
            # What waits is an hour old; a revocation among it closes its resource until it is delivered.
            self.history.mark("outage")
            await self.site.advance(HOUR)
            await asyncio.sleep(0.3)
        if condition == "two-workers":
            second = RemitProcess(["worker"], self.site.worker.environment, self.site.worker.log)
            second.start()
            self.site.extra.append(second)
            await asyncio.sleep(CONDITION_SECONDS)
        self.site.gate.states.clear()
        if condition == "engine-hangs":
            self._cut()
        if condition == "two-workers":
            await self.site.advance(30)

    def _set(self, state: State) -> None:
        for kind in _ENGINES:
            self.site.gate.states[kind] = state
        if state == "down":
            self._cut()

    def _cut(self) -> None:
        for kind in _ENGINES:
            self.site.proxies[kind].cut_all()

    async def _skew(self, seconds: str | None) -> None:
        """Start the server again with a clock that goes wrong, or with the right one."""
        server = self.site.server
        server.end()
        if seconds is None:
            server.environment.pop("REMIT_SKEWED_SECONDS", None)
        else:
            server.environment.update(REMIT_SKEWED_SECONDS=seconds, PYTHONPATH=str(PLANTED))
        await self.site.revive()
