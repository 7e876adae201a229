"""What every run does: create, share, revoke, delete and key operations, with reads by everybody all the while."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import httpx
from support.graph import Party

from faults.history import Action, Entry, History
from faults.people import People
from faults.site import Site
from remit.authz.model import Resource, Subject
from remit.db.pool import UNREACHABLE
from remit.errors import NotFound, Unavailable
from remit.identity.groups import add_member, remove_member

OPERATIONS: Final = (
    "create",
    "share",
    "revoke",
    "share-group",
    "join",
    "leave",
    "key-create",
    "key-use",
    "key-delete",
    "key-tell",
    "delete",
)
WORKERS: Final = ("join", "leave", "key-tell")
"""What the worker tells the engine elsewhere of; nothing is counted before it does."""
ANSWER_SECONDS: Final = 8.0
GIVE_UP_SECONDS: Final = 180.0  # a process that starts again takes long where many others run
READ_PAUSE_SECONDS: Final = 0.3
WORKER_SECONDS: Final = 6.0


@dataclass
class Script:
    """One walk through all operations.

    Args:
        site: where.
        people: who.
        history: where requests are logged.
        before: called before each operation.
        after: called after it.
        http: sends requests.
        awaited: which of the operations that are the worker's to deliver are waited for.
        task_id: once it is made.
        key_id: once it is made.
        key_secret: with it.
        problems: what the operations themselves were answered wrong.
    """

    site: Site
    people: People
    history: History
    before: Callable[[str], Awaitable[None]]
    after: Callable[[str], Awaitable[None]]
    http: httpx.AsyncClient
    awaited: Sequence[str] = WORKERS
    task_id: str | None = None
    key_id: str | None = None
    key_secret: str | None = None
    problems: list[str] = field(default_factory=list)

    TASK = "task"
    KEY = "key"

    async def walk(self, operations: Sequence[str] = OPERATIONS) -> None:
        """Do all of them in order, while everybody reads."""
        reading = asyncio.create_task(self._read_on())
        try:
            for operation in operations:
                await self.before(operation)
                if operation not in WORKERS:
                    self.site.gate.begin(operation)
                await getattr(self, "_" + operation.replace("-", "_"))()
                self.site.gate.end()
                await self.site.gate.release_due()
                await self.after(operation)
                await self._read_after(operation)
        finally:
            self.site.gate.end()
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def read_all(self, url: str) -> None:
        """Everybody reads the task once; whoever has the key uses it."""
        people = self.people
        path = self._path
        for name, party in (
            ("alice", people.alice),
            ("bob", people.bob),
            ("carol", people.carol),
            ("root", people.root),
        ):
            await self._ask("read", name, party.headers, "GET", url + path)
        if self.task_id:
            await self._ask("read", "mallory", people.mallory.headers, "GET", url + path)
            body = {"task_metadata": {"by": "bob"}}
            await self._ask("update", "bob", people.bob.headers, "PUT", url + path, json=body)
        if self.key_secret:
            await self._use_key(url)

    async def _read_after(self, operation: str) -> None:
        """The creator, whom the operation concerned, and who was revoked once read from the server that did it."""
        url = self.site.server.url
        concerned = {"share": "bob", "revoke": "bob", "join": "carol", "leave": "carol"}.get(operation, "root")
        for name in dict.fromkeys(("alice", concerned, "bob")):
            await self._ask("read", name, getattr(self.people, name).headers, "GET", url + self._path)
        if operation == "key-delete" and self.key_secret:
            await self._use_key(url)

    @property
    def _path(self) -> str:
        return f"/tasks/{self.task_id}" if self.task_id else "/tasks/name/t"

    async def _read_on(self) -> None:
        while True:
            await self.read_all(self.site.reader.url)
            await asyncio.sleep(READ_PAUSE_SECONDS)

    async def _use_key(self, url: str) -> None:
        await self._ask(
            "key_use",
            self.KEY,
            {"x-agent-api-key": self.key_secret or ""},
            "GET",
            f"{url}/agents/{self.people.agent.id}",
            self.KEY,
        )

    async def _ask(
        self,
        action: Action,
        who: str,
        headers: dict[str, str],
        method: str,
        url: str,
        resource: str = TASK,
        to: str | None = None,
        **request: Any,
    ) -> httpx.Response | None:
        start = time.monotonic()
        response = None
        with suppress(httpx.HTTPError):
            response = await self.http.request(method, url, headers=headers, **request)
        status = response.status_code if response is not None else None
        if (
            status == 200
            and response is not None
            and method == "POST"
            and "/rpc" in url
            and response.json().get("error")
        ):
            status = 599
        self.history.add(Entry(action, who, resource, start, time.monotonic(), status, to))
        return response

    async def _until_answered(
        self, action: Action, who: str, party: Party, method: str, path: str, **more: Any
    ) -> httpx.Response | None:
        """Ask again until there is an answer that is none of the server's errors."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            url = self.site.server.url + path
            response = await self._ask(action, who, party.headers, method, url, **more)
            if response is not None and response.status_code < 500:
                return response
            if not self.site.server.alive:
                await self.site.revive()
            await asyncio.sleep(0.1)
        self.problems.append(f"{action} got no answer in {GIVE_UP_SECONDS:.0f} seconds")
        return None

    async def _create(self) -> None:
        body = {"method": "task/create", "params": {"name": "t"}}
        path = f"/agents/{self.people.agent.id}/rpc"
        response = await self._until_answered("create", "alice", self.people.alice, "POST", path, json=body)
        if response is None or response.status_code != 200:
            self.problems.append(f"create: {response.text if response is not None else 'no answer'}")
            return
        self.task_id = response.json()["result"]["id"]

    @property
    def _sharer(self) -> tuple[str, Party]:
        # Where roles decide, sharing is an admin's.
        people = self.people
        return ("alice", people.alice) if people.mode == "enforce" else ("root", people.root)

    async def _give(self, kind: str, name: str, to: str) -> None:
        body = {"subject_type": kind, "subject_id": name, "role": "viewer"}
        path = f"/tasks/{self.task_id}/access"
        response = await self._until_answered("share", *self._sharer, "PUT", path, json=body, to=to)
        expected = 409 if self.people.mode == "off" else 200
        if response is not None and response.status_code != expected:
            self.problems.append(f"share: {response.status_code} {response.text}")

    async def _share(self) -> None:
        await self._give("user", self.people.bob.name, "bob")

    async def _revoke(self) -> None:
        query = {"subject_type": "user", "subject_id": self.people.bob.name}
        await self._expect_done(
            "revoke", *self._sharer, "DELETE", f"/tasks/{self.task_id}/access", params=query, to="bob"
        )

    async def _share_group(self) -> None:
        await self._give("group", self.people.team.name, "team")

    async def _change_team(self, action: Action, change: Callable[..., Awaitable[Any]]) -> None:
        """As the operator's commands do it: nobody but the worker delivers it."""
        people, seed = self.people, self.site.seed
        start = time.monotonic()
        carol = Subject("user", people.carol.id)

        async def once() -> None:
            async with seed.database.transaction() as connection:
                await change(connection, seed.engine, people.tenant_id, people.team.name, carol)

        await self._until_done(once)
        self.history.add(Entry(action, "operator", self.TASK, start, time.monotonic(), 200, "carol"))
        await self._wait_for_worker(action, Resource("group", people.team.id))

    async def _until_done(self, change: Callable[[], Awaitable[None]]) -> None:
        """Make the operator's change, whatever the database goes through at the moment."""
        while True:
            try:
                await change()
                return
            except (Unavailable, asyncpg.PostgresError, *UNREACHABLE):
                await asyncio.sleep(0.1)
            except NotFound:
                return  # it was done before the database went away

    async def _wait_for_worker(self, operation: str, resource: Resource) -> None:
        """Let the worker tell of a change now, if this run is about that."""
        if operation not in self.awaited:
            return
        site = self.site
        site.gate.begin(operation)
        await site.advance(3)
        for _ in range(int(WORKER_SECONDS / 0.05)):
            if not await site.fetch("SELECT 1 FROM outbox WHERE resource_id = $1::uuid", resource.id):
                return
            if not site.worker.alive:
                return
            await asyncio.sleep(0.05)

    async def _join(self) -> None:
        await self._change_team("join", add_member)

    async def _leave(self) -> None:
        await self._change_team("leave", remove_member)

    async def _key_create(self) -> None:
        body = {"agent_id": self.people.agent.id, "name": "k", "api_key_type": "internal"}
        number = 0
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            # A key whose answer was lost keeps its name, and its secret is shown to nobody.
            body["name"] = f"k{number}"
            number += 1
            response = await self._until_answered(
                "key_create",
                "alice",
                self.people.alice,
                "POST",
                "/agent_api_keys",
                json=body,
                resource=self.KEY,
                to=self.KEY,
            )
            if response is None:
                return
            if response.status_code == 200:
                made = response.json()
                self.key_id, self.key_secret = made["id"], made["api_key"]
                return
            if response.status_code != 409:
                self.problems.append(f"key-create: {response.status_code} {response.text}")
                return

    async def _key_use(self) -> None:
        if self.key_secret:
            await self._use_key(self.site.server.url)

    async def _key_delete(self) -> None:
        if self.key_id:
            path = f"/agent_api_keys/{self.key_id}"
            await self._expect_done("key_delete", "alice", self.people.alice, "DELETE", path, resource=self.KEY)

    async def _key_tell(self) -> None:
        if self.key_id:
            await self._wait_for_worker("key-tell", Resource("api_key", self.key_id))

    async def _delete(self) -> None:
        await self._expect_done("delete", "alice", self.people.alice, "DELETE", f"/tasks/{self.task_id}")

    async def _expect_done(self, action: Action, who: str, party: Party, method: str, path: str, **more: Any) -> None:
        asked = len(self.history.entries)
        response = await self._until_answered(action, who, party, method, path, **more)
        if response is None or response.status_code == 200:
            return
        # What an unanswered request did already is gone.
        repeated = any(
            one.action == action and not one.done and (one.status is None or one.status >= 500)
            for one in self.history.entries[asked:]
        )
        if response.status_code == 404 and repeated:
            return
        self.problems.append(f"{action}: {response.status_code} {response.text}")
