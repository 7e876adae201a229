"""The demo's story: each step is a request on the real API and what must come of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from remit.authz.engine import Engine
from remit.authz.model import Relationship, Resource, Subject
from remit.db.pool import Database
from remit.worker import enqueue_task

WAIT_SECONDS = 20


class StepFailed(Exception):
    """A step did not go as it should. The message says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it is shown: who sent it, what came back, and what that means in one line."""

    who: str
    request: str
    status: int | None
    line: str


@dataclass(slots=True)
class Cast:
    """Who plays, and on what.

    Attributes:
        url: the server.
        tenant: the tenant of everybody but the stranger.
        agent: the name of its agent.
        keys: API keys by name: `alice`, `bob`, `ada` (tenant admin), `reporter` (service account), `mallory`
            (another tenant).
        mallory_id: her id in the graph.
        dsn: the database, for what an operator does beside the API.
        database: the same, open.
        engine: the authorization engine on it.
        agent_task: id of the task that the agent made for itself.
    """

    url: str
    tenant: str
    agent: str
    keys: dict[str, str]
    mallory_id: str
    dsn: str
    database: Database
    engine: Engine
    agent_task: str
    task_id: str = ""
    task_name: str = "quarterly-report"
    show: Callable[[Seen], None] = field(default=lambda _: None)


class Story:
    """Plays the steps in order; `play` raises `StepFailed` at the first that fails.

    Args:
        cast: who plays.
        client: an HTTP client.
        begin: called with the name of each step before it.
    """

    def __init__(self, cast: Cast, client: httpx.AsyncClient, begin: Callable[[str], None]) -> None:
        self._cast = cast
        self._client = client
        self._begin = begin

    async def play(self) -> None:
        """Every step.

        Raises:
            StepFailed: a step went otherwise than it should; its name was the last that `begin` was told.
        """
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("alice creates a task", self.create_task),
            ("the answer streams", self.stream_answer),
            ("the task knows its creator", self.show_creator),
            ("bob does not see the task", self.hide_from_bob),
            ("alice shares the task with bob", self.share_with_bob),
            ("bob reads the task", self.read_as_bob),
            ("bob may not cancel the task", self.refuse_cancel),
            ("a stranger does not see the task", self.hide_from_mallory),
            ("a leaked relationship grants nothing", self.leak_to_mallory),
            ("a service account creates a task", self.create_as_service_account),
            ("the agent creates a task", self.show_agents_task),
            ("a background job creates a task", self.create_in_background),
            ("alice deletes the task", self.delete_task),
            ("no relationship of it is left", self.count_relationships),
        ]
        for name, step in steps:
            self._begin(name)
            await step()

    async def _request(self, who: str, method: str, path: str, line: str = "", **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._cast.keys[who]}"}
        response = await self._client.request(method, self._cast.url + path, headers=headers, **options)
        if line:
            self._cast.show(Seen(who, f"{method} {path}", response.status_code, line))
        return response

    async def _rpc(self, who: str, method: str, params: dict[str, Any], line: str = "") -> dict[str, Any]:
        path = f"/agents/name/{self._cast.agent}/rpc"
        response = await self._request(who, "POST", path, json={"method": method, "params": params})
        body = response.json()
        if response.status_code != 200 or body.get("error"):
            raise StepFailed(
                f"{method} was answered {response.status_code}: {body.get('message') or body.get('error')}"
            )
        result: dict[str, Any] = body["result"]
        self._cast.show(Seen(who, f"POST {path}  {method}", response.status_code, line.format(**result)))
        return result

    async def _expect(self, who: str, method: str, path: str, status: int, line: str, **options: Any) -> Any:
        response = await self._request(who, method, path, line, **options)
        if response.status_code != status:
            raise StepFailed(f"{method} {path} as {who} was answered {response.status_code} and not {status}")
        return response.json()

    @property
    def _path(self) -> str:
        return f"/tasks/{self._cast.task_id}"

    async def create_task(self) -> None:
        params = {"name": self._cast.task_name, "params": {"quarter": 3}}
        task = await self._rpc("alice", "task/create", params, "task {id} is {status}")
        self._cast.task_id = task["id"]

    async def stream_answer(self) -> None:
        path = f"/agents/name/{self._cast.agent}/rpc"
        content = {"type": "text", "author": "user", "content": "How was the third quarter?"}
        params = {"task_id": self._cast.task_id, "content": content, "stream": True}
        text, pieces = "", 0
        async with self._client.stream(
            "POST",
            self._cast.url + path,
            headers={"authorization": f"Bearer {self._cast.keys['alice']}"},
            json={"method": "message/send", "params": params},
        ) as response:
            async for line in response.aiter_lines():
                update = json.loads(line)
                if update.get("error"):
                    raise StepFailed(f"the stream ended with an error: {update['error']['message']}")
                if update["result"]["type"] == "delta":
                    text += update["result"]["delta"]["text_delta"]
                    pieces += 1
        if content["content"] not in text or pieces < 2:
            raise StepFailed(f"the answer came in {pieces} pieces and was {text!r}")
        request = f"POST {path}  message/send, streamed"
        self._cast.show(Seen("alice", request, response.status_code, f"“{text}” in {pieces} pieces"))

    async def show_creator(self) -> None:
        task = await self._expect("alice", "GET", self._path, 200, "alice reads her task")
        if (task["creator_user_id"], task["creator_service_account_id"]) != ("alice", None):
            raise StepFailed(f"creator_user_id is {task['creator_user_id']!r}")
        self._cast.show(Seen("", "", None, f"creator_user_id is {task['creator_user_id']}"))

    async def hide_from_bob(self) -> None:
        await self._expect("bob", "GET", self._path, 404, "by id: for bob there is no such task")
        await self._expect("bob", "GET", f"/tasks/name/{self._cast.task_name}", 404, "by name: nor by its name")
        await self._expect_absent_in_list("bob")

    async def _expect_absent_in_list(self, who: str) -> None:
        tasks = await self._expect(who, "GET", "/tasks", 200, f"{who}’s list does not have it")
        if any(task["id"] == self._cast.task_id for task in tasks):
            raise StepFailed(f"the list of {who} has the task")

    async def share_with_bob(self) -> None:
        share = {"subject_type": "user", "subject_id": "bob", "role": "viewer"}
        access = await self._expect("alice", "PUT", f"{self._path}/access", 200, "bob is a viewer now", json=share)
        if not any((grant["subject_id"], grant["role"]) == ("bob", "viewer") for grant in access["grants"]):
            raise StepFailed(f"the access list is {access}")

    async def read_as_bob(self) -> None:
        await self._expect("bob", "GET", self._path, 200, "a viewer reads")

    async def refuse_cancel(self) -> None:
        await self._expect("bob", "POST", f"{self._path}/cancel", 403, "a viewer does not cancel")

    async def hide_from_mallory(self) -> None:
        await self._expect("mallory", "GET", self._path, 404, "another tenant sees nothing")
        await self._expect_absent_in_list("mallory")

    async def leak_to_mallory(self) -> None:
        task, mallory = Resource("task", self._cast.task_id), Subject("user", self._cast.mallory_id)
        leaked = Relationship(task, "viewer", mallory)
        async with self._cast.database.transaction() as connection:
            await self._cast.engine.write(connection, touch=[leaked], actor="operator")
        try:
            async with self._cast.database.connection() as connection:
                allowed = await self._cast.engine.check(connection, mallory, "read", task)
            answer = "allowed" if allowed else "denied"
            self._cast.show(Seen("operator", "check task#read@user:mallory, who is a viewer of it now", None, answer))
            if allowed:
                raise StepFailed("the graph lets a subject of another tenant read the task")
            await self._expect("mallory", "GET", self._path, 404, "and she still sees nothing")
        finally:
            async with self._cast.database.transaction() as connection:
                await self._cast.engine.write(connection, delete=[leaked], actor="operator")

    async def create_as_service_account(self) -> None:
        task = await self._rpc(
            "reporter", "task/create", {}, "creator_service_account_id is {creator_service_account_id}"
        )
        if (task["creator_user_id"], task["creator_service_account_id"]) != (None, "reporter"):
            raise StepFailed(f"the creators are {task['creator_user_id']!r}, {task['creator_service_account_id']!r}")

    async def show_agents_task(self) -> None:
        path = f"/tasks/{self._cast.agent_task}"
        task = await self._expect("ada", "GET", path, 200, "the tenant’s admin sees what the agent made")
        if not task["creator_agent_id"] or task["creator_user_id"] or task["creator_service_account_id"]:
            raise StepFailed("the task does not name the agent, and the agent alone, as its creator")
        self._cast.show(Seen("", "", None, f"creator_agent_id is {task['creator_agent_id']}"))

    async def create_in_background(self) -> None:
        name = "nightly-digest"
        job = await enqueue_task(
            self._cast.dsn, tenant=self._cast.tenant, agent=self._cast.agent, name=name, params=None
        )
        self._cast.show(Seen("operator", "enqueue create_task", None, f"job {job}"))
        for _ in range(WAIT_SECONDS * 10):
            response = await self._request("ada", "GET", f"/tasks/name/{name}")
            if response.status_code == 200:
                break
            await asyncio.sleep(0.1)
        else:
            raise StepFailed(f"the job made no task in {WAIT_SECONDS} seconds; is a worker running?")
        task = response.json()
        self._cast.show(
            Seen("ada", f"GET /tasks/name/{name}", 200, "made by a job: no creator, and still in the graph")
        )
        if any(task[f"creator_{kind}_id"] for kind in ("user", "service_account", "agent")):
            raise StepFailed("the task of a job has a creator")

    async def delete_task(self) -> None:
        await self._expect("alice", "DELETE", self._path, 200, "the owner deletes it")
        await self._expect("alice", "GET", self._path, 404, "gone for alice")
        await self._expect("bob", "GET", self._path, 404, "gone for bob")
        await self._expect("ada", "GET", self._path, 404, "gone for the admin")

    async def count_relationships(self) -> None:
        async with self._cast.database.connection() as connection:
            left = await connection.fetchval(
                "SELECT count(*) FROM relationships WHERE resource_id = $1 OR subject_id = $1", self._cast.task_id
            )
        self._cast.show(Seen("operator", f"relationships of task:{self._cast.task_id}", None, str(left)))
        if left:
            raise StepFailed(f"{left} relationships of the deleted task are left")
