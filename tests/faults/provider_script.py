"""The script where an auth provider decides: roles are given and taken at the provider, which has groups of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from support.graph import AgentParty, Seeder

from faults.history import Action, Entry
from faults.people import NOWHERE, AtProvider
from faults.script import GIVE_UP_SECONDS, Script
from remit.agents.service import end_agent
from remit.audit import AuditEntry
from remit.authz.model import Relationship, Resource, Subject
from remit.identity.groups import add_member, remove_member
from remit.provider.names import to_resource


class ProviderScript(Script):
    """The same operations. `join` and `leave` enrol and end an agent besides, which is the worker's to tell."""

    _second: AgentParty | None = None

    async def _give(self, kind: str, name: str, to: str) -> None:
        """The server refuses what the contract has no words for; it is given at the provider."""
        body = {"subject_type": kind, "subject_id": name, "role": "viewer"}
        path = f"/tasks/{self.task_id}/access"
        if kind == "user":
            response = await self._until_answered("share", *self._sharer, "PUT", path, json=body, to=to)
            if response is not None and response.status_code != 409:
                self.problems.append(f"share: {response.status_code} {response.text}")
        await self._wait_for_registration()
        await self._change_roles("share", to, taken=False)

    async def _wait_for_registration(self) -> None:
        """A role at the provider counts once the resource is registered there, which an earlier fault may have left."""
        resource = to_resource(self._there.tenant_id, "task", self.task_id or "")
        assert resource is not None, "a task's id is good"
        deadline = time.monotonic() + GIVE_UP_SECONDS
        facts: list[Relationship] = []

        async def read() -> None:
            facts[:] = await self._provider.relationships_of("task", resource.id)

        while self.people.mode != "off" and time.monotonic() < deadline:
            await self._until_done(read)
            if any(fact.relation == "owner" for fact in facts):
                return
            await self.site.advance(3)
            await asyncio.sleep(0.1)

    async def _revoke(self) -> None:
        await self._change_roles("revoke", "bob", taken=True)
        await super()._revoke()

    async def _change_roles(self, action: Action, to: str, *, taken: bool) -> None:
        there, provider = self._there, self._provider
        resource = to_resource(there.tenant_id, "task", self.task_id or "")
        assert resource is not None, "a task's id is good"
        subject = Subject("group", there.team.id, "member") if to == "team" else there.bob.subject
        facts = [Relationship(resource, "viewer", subject)]
        start = time.monotonic()

        async def once() -> None:
            async with provider.database.transaction() as connection:
                await provider.engine.write(connection, touch=[] if taken else facts, delete=facts if taken else [])

        await self._until_done(once)
        self.history.add(Entry(action, "operator", self.TASK, start, time.monotonic(), 200, to))

    async def _join(self) -> None:
        await self._change_team("join", add_member)
        await self._change_agents("join", self._enrol)

    async def _leave(self) -> None:
        await self._change_team("leave", remove_member)
        if self._second is not None:
            await self._change_agents("leave", self._end)

    async def _change_team(self, action: Action, change: Callable[..., Awaitable[Any]]) -> None:
        there, provider = self._there, self._provider
        start = time.monotonic()

        async def once() -> None:
            async with provider.database.transaction() as connection:
                await change(connection, provider.engine, there.tenant_id, there.team.name, there.carol.subject)

        await self._until_done(once)
        self.history.add(Entry(action, "operator", self.TASK, start, time.monotonic(), 200, "carol"))

    async def _change_agents(self, action: Action, change: Callable[[], Awaitable[None]]) -> None:
        await self._until_done(change)
        if self._second is not None:
            await self._wait_for_worker(action, Resource("agent", self._second.id))

    async def _enrol(self) -> None:
        people = self.people
        self._second = await self.site.seed.make_agent(people.tenant_id, NOWHERE, owner=people.alice, private=True)

    async def _end(self) -> None:
        assert self._second is not None, "it was enrolled"
        resource = Resource("agent", self._second.id)
        entry = AuditEntry(
            tenant_id=self.people.tenant_id,
            actor_type="operator",
            actor_id=None,
            action="agent.delete",
            outcome="done",
            resource_type="agent",
            resource_id=resource.id,
        )
        async with self.site.seed.database.transaction() as connection:
            await end_agent(connection, self.site.seed.engine, resource.id, entry=entry, actor="operator")

    @property
    def _there(self) -> AtProvider:
        assert self.people.there is not None, "they have accounts at the provider"
        return self.people.there

    @property
    def _provider(self) -> Seeder:
        provider = self.site.beside.provider
        assert provider is not None, "a provider decides"
        return provider
