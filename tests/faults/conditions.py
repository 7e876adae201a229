"""What lasts for a while: engines that are away, slow or refuse, a database that restarts, clocks that go wrong."""

import asyncio
from dataclasses import dataclass

from faults.choose import Plan
from faults.gate import State
from faults.history import History
from faults.remit_process import RemitProcess
from faults.site import PLANTED, Site

HOUR = 3600.0
CONDITION_SECONDS = 1.5
_ENGINES = ("server-engine", "worker-engine")


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
            if self.plan.mode != "enforce":
                # Until a process can read the modes again it goes by the strictest that it knew.
                self.history.mark("outage")
            self._lasting = asyncio.create_task(self.site.restart_database())
        elif condition in ("engine-down", "engine-away-an-hour", "two-workers"):
            self._set("down")
            self._lasting = asyncio.create_task(self._come_back(condition))
        elif condition in ("engine-slow", "engine-hangs", "engine-refuses"):
            self._set(condition.removeprefix("engine-"))  # type: ignore[arg-type]  # its states are named so
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
            process.kill()
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
        if condition in ("engine-hangs", "engine-refuses"):
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
        server.kill()
        if seconds is None:
            server.environment.pop("REMIT_SKEWED_SECONDS", None)
        else:
            server.environment.update(REMIT_SKEWED_SECONDS=seconds, PYTHONPATH=str(PLANTED))
        await self.site.revive()
