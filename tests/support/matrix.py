"""Every route with every kind of caller and every state of its resource: the requests, and what they are made on."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from support.graph import AgentParty, Party, Seeder, text

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.registration import relationships_of_api_key, relationships_of_task
from remit.identity.api_keys import insert_key
from remit.ids import new_id

CALLERS = (
    "owner",
    "editor",
    "viewer",
    "member",
    "admin",
    "service",
    "own-agent",
    "other-agent",
    "disabled",
    "expired",
    "nobody",
    "stranger",
)
"""Members of the tenant, but for the last: the admin of another one. `service` is a service account with the role of
editor; `disabled` and `expired` are owners, one of them disabled, the other one with an expired key."""

STATES = ("present", "deleted", "absent", "other")
NOW = datetime.now(UTC)

Ids = dict[str, str]
Body = Callable[[Ids], Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """How a route is asked.

    Attributes:
        path: with the target's ids in braces.
        body: made of the target's ids.
        on: the resource that decides, a task or an agent; `nothing` for routes that are the same for all resources.
        agent: type of the agent that the target has.
        task: columns of the target's task that differ from a running one's.
        without: children that the target does not have.
        takes: whoever asks takes the target, be it absent or deleted.
    """

    path: str
    body: Body | None = None
    on: str = "task"
    agent: str = "async"
    task: dict[str, Any] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    takes: bool = False


def _call(method: str, agent: str = "async", by: str = "task_id", **params: Any) -> Body:
    return lambda ids: {
        "id": 1,
        "method": method,
        "params": {**({by: ids["task" if by == "task_id" else "name"]} if by else {}), **params},
    }


def _thread(**more: Any) -> Body:
    return lambda ids: {"thread_id": ids["task"], **more}


_SAID = text("new")
_CHECKPOINT = {"checkpoint_id": "2", "checkpoint": {"channel_versions": {}}}
_WRITES = {"checkpoint_id": "1", "writes": [{"task_id": "s", "idx": 0, "channel": "a", "blob": "eA=="}]}
_ACCESS = {"subject_type": "user", "subject_id": "member", "role": "viewer"}
_RPC, _RPC_BY_NAME = "POST /agents/{agent_id}/rpc", "POST /agents/name/{agent_name}/rpc"
_BY_ID, _BY_NAME = "/agents/{agent}/rpc", "/agents/name/{agent_name}/rpc"

ASKS: dict[str, Ask] = {
    **{f"GET /{name}": Ask(f"/{name}", on="nothing") for name in ("healthz", "healthcheck", "readyz", "metrics", "me")},
    "GET /access/me": Ask("/access/me?type=task&operation=cancel&ids={task}"),
    "GET /authz/why": Ask("/authz/why?resource=task:{task}&permission=read"),
    "GET /agents": Ask("/agents?task_id={task}", on="agent"),
    "GET /agents/{agent_id}": Ask("/agents/{agent}", on="agent"),
    "GET /agents/name/{agent_name}": Ask("/agents/name/{agent_name}", on="agent"),
    "DELETE /agents/{agent_id}": Ask("/agents/{agent}", on="agent"),
    "DELETE /agents/name/{agent_name}": Ask("/agents/name/{agent_name}", on="agent"),
    "GET /agents/{agent_id}/access": Ask("/agents/{agent}/access", on="agent"),
    "PUT /agents/{agent_id}/access": Ask("/agents/{agent}/access", lambda _: _ACCESS, on="agent"),
    "DELETE /agents/{agent_id}/access": Ask("/agents/{agent}/access?subject_type=user&subject_id=viewer", on="agent"),
    "POST /agent_api_keys": Ask(
        "/agent_api_keys", lambda ids: {"agent_id": ids["agent"], "name": "another"}, on="agent"
    ),
    "POST /agent_api_keys/webhook-trigger": Ask(
        "/agent_api_keys/webhook-trigger",
        lambda ids: {"agent_name": ids["agent_name"], "name": "acme/repository", "forward_path": "hook"},
        on="agent",
    ),
    "GET /agent_api_keys": Ask("/agent_api_keys?agent_id={agent}", on="agent"),
    "GET /agent_api_keys/{id}": Ask("/agent_api_keys/{key}", on="agent"),
    "DELETE /agent_api_keys/{id}": Ask("/agent_api_keys/{key}", on="agent"),
    "GET /agent_api_keys/name/{name:path}": Ask("/agent_api_keys/name/{key_name}?agent_id={agent}", on="agent"),
    "DELETE /agent_api_keys/name/{api_key_name:path}": Ask(
        "/agent_api_keys/name/{key_name}?agent_id={agent}", on="agent"
    ),
    "GET /agents/forward/name/{agent_name}/{path:path}": Ask("/agents/forward/name/{agent_name}/hook", on="agent"),
    "POST /agents/forward/name/{agent_name}/{path:path}": Ask(
        "/agents/forward/name/{agent_name}/hook", lambda _: {}, on="agent"
    ),
    "POST /agents/register": Ask(
        "/agents/register",
        lambda ids: {"name": ids["agent_name"], "acp_url": "http://127.0.0.1:9", "acp_type": "async"},
        on="agent",
        takes=True,
    ),
    "POST /agents/register-build": Ask(
        "/agents/register-build",
        lambda ids: {"name": ids["agent_name"], "description": "built"},
        on="agent",
        takes=True,
    ),
    f"{_RPC} task/create": Ask(_BY_ID, _call("task/create", by=""), on="agent", agent="sync"),
    f"{_RPC} message/send": Ask(_BY_ID, _call("message/send", content=_SAID), agent="sync"),
    f"{_RPC} event/send": Ask(_BY_ID, _call("event/send")),
    f"{_RPC} task/cancel": Ask(_BY_ID, _call("task/cancel")),
    f"{_RPC} task/interrupt": Ask(_BY_ID, _call("task/interrupt")),
    f"{_RPC_BY_NAME} task/create": Ask(_BY_NAME, _call("task/create", by=""), on="agent", agent="sync"),
    f"{_RPC_BY_NAME} message/send": Ask(_BY_NAME, _call("message/send", content=_SAID), agent="sync"),
    f"{_RPC_BY_NAME} event/send": Ask(_BY_NAME, _call("event/send", by="task_name")),
    f"{_RPC_BY_NAME} task/cancel": Ask(_BY_NAME, _call("task/cancel", by="task_name")),
    f"{_RPC_BY_NAME} task/interrupt": Ask(_BY_NAME, _call("task/interrupt", by="task_name")),
    "GET /tasks": Ask('/tasks?task_metadata=%7B"mark":"{mark}"%7D'),
    "GET /tasks/{task_id}": Ask("/tasks/{task}"),
    "GET /tasks/name/{task_name}": Ask("/tasks/name/{name}"),
    "PUT /tasks/{task_id}": Ask("/tasks/{task}", lambda _: {"merge_params": {"a": 1}}),
    "PUT /tasks/name/{task_name}": Ask("/tasks/name/{name}", lambda _: {"merge_params": {"a": 1}}),
    "DELETE /tasks/{task_id}": Ask("/tasks/{task}"),
    "DELETE /tasks/name/{task_name}": Ask("/tasks/name/{name}"),
    **{
        f"POST /tasks/{{task_id}}/{verb}": Ask(f"/tasks/{{task}}/{verb}", lambda _: {})
        for verb in ("complete", "fail", "cancel", "terminate", "timeout", "interrupt")
    },
    "GET /tasks/{task_id}/access": Ask("/tasks/{task}/access"),
    "PUT /tasks/{task_id}/access": Ask("/tasks/{task}/access", lambda _: _ACCESS),
    "DELETE /tasks/{task_id}/access": Ask("/tasks/{task}/access?subject_type=user&subject_id=viewer"),
    "GET /tasks/{task_id}/stream": Ask("/tasks/{task}/stream"),
    "GET /tasks/name/{task_name}/stream": Ask("/tasks/name/{name}/stream"),
    "GET /tasks/{task_id}/export": Ask("/tasks/{task}/export"),
    # Whoever may read is told that the address is none; nobody else is told anything of it.
    "POST /tasks/{task_id}/export": Ask("/tasks/{task}/export", lambda _: {"upload_url": "http://here.invalid"}),
    "POST /tasks/{task_id}/clean": Ask(
        "/tasks/{task}/clean", lambda _: {"force": True}, task={"status": "COMPLETED"}, without=frozenset({"event"})
    ),
    "POST /tasks/{task_id}/rehydrate": Ask(
        "/tasks/{task}/rehydrate",
        lambda ids: {"task_id": ids["task"]},
        task={"status": "COMPLETED", "cleaned_at": NOW},
        without=frozenset({"message", "state", "event"}),
    ),
    "POST /messages": Ask("/messages", lambda ids: {"task_id": ids["task"], "content": _SAID}),
    "POST /messages/batch": Ask("/messages/batch", lambda ids: {"task_id": ids["task"], "contents": [_SAID]}),
    "PUT /messages/batch": Ask(
        "/messages/batch", lambda ids: {"task_id": ids["task"], "updates": {ids["message"]: _SAID}}
    ),
    "PUT /messages/{message_id}": Ask("/messages/{message}", lambda ids: {"task_id": ids["task"], "content": _SAID}),
    "GET /messages": Ask("/messages?task_id={task}"),
    "GET /messages/paginated": Ask("/messages/paginated?task_id={task}"),
    "GET /messages/{message_id}": Ask("/messages/{message}"),
    "POST /states": Ask(
        "/states",
        lambda ids: {"task_id": ids["task"], "agent_id": ids["agent"], "state": {}},
        without=frozenset({"state"}),
    ),
    "GET /states": Ask("/states?task_id={task}"),
    "GET /states/{state_id}": Ask("/states/{state}"),
    "PUT /states/{state_id}": Ask("/states/{state}", lambda _: {"state": {"a": 1}}),
    "DELETE /states/{state_id}": Ask("/states/{state}"),
    "GET /events": Ask("/events?task_id={task}&agent_id={agent}"),
    "GET /events/{event_id}": Ask("/events/{event}"),
    "GET /tracker": Ask("/tracker?task_id={task}"),
    "GET /tracker/{tracker_id}": Ask("/tracker/{tracker}"),
    "PUT /tracker/{tracker_id}": Ask("/tracker/{tracker}", lambda _: {"status": "x"}),
    "POST /spans": Ask(
        "/spans", lambda ids: {"trace_id": "t", "name": "n", "start_time": NOW.isoformat(), "task_id": ids["task"]}
    ),
    "GET /spans": Ask("/spans?task_id={task}"),
    "GET /spans/{span_id:path}": Ask("/spans/{span}"),
    "PATCH /spans/{span_id:path}": Ask("/spans/{span}", lambda _: {"name": "other"}),
    "POST /checkpoints/get-tuple": Ask("/checkpoints/get-tuple", _thread()),
    "POST /checkpoints/put": Ask("/checkpoints/put", _thread(**_CHECKPOINT)),
    "POST /checkpoints/put-writes": Ask("/checkpoints/put-writes", _thread(**_WRITES)),
    "POST /checkpoints/list": Ask("/checkpoints/list", _thread()),
    "POST /checkpoints/delete-thread": Ask("/checkpoints/delete-thread", _thread()),
}


@dataclass
class Tenant:
    """One side of the matrix.

    Attributes:
        id: the tenant.
        callers: by their names in the table.
        agents: shared by the tasks, by type.
    """

    id: str
    callers: dict[str, Party]
    agents: dict[str, AgentParty]


@dataclass(frozen=True)
class Target:
    """What a request is made on.

    Attributes:
        ids: of the resource and its children, and `mark`, which stands in everything that it holds.
        own_agent: the agent that works on it, or is it.
    """

    ids: Ids
    own_agent: AgentParty


class MatrixWorld:
    """Makes the callers and the targets, many at once.

    Args:
        seed: the server's database.
        agent_url: where all agents listen.
    """

    def __init__(self, seed: Seeder, agent_url: str) -> None:
        self._seed, self._url = seed, agent_url
        self._numbers = count()
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._relationships: list[Relationship] = []
        self.home: Tenant
        self.other: Tenant

    async def make_callers(self) -> None:
        """The two tenants and everybody who calls."""
        seed = self._seed
        self.home, self.other = await self._make_tenant(), await self._make_tenant()
        callers = self.home.callers
        for name in ("owner", "editor", "viewer", "member", "disabled", "expired"):
            callers[name] = await seed.make_subject(self.home.id, name)
        callers["admin"] = await seed.make_subject(self.home.id, "admin", "admin")
        callers["service"] = await seed.make_subject(self.home.id, "service", kind="service_account")
        callers["stranger"] = await seed.make_subject(self.other.id, "stranger", "admin")
        for name in ("viewer", "member"):
            await seed.make_subject(self.other.id, name)
        callers["nobody"] = Party(seed.http, "user", "", "nobody", "", None)
        callers["other-agent"] = await seed.make_agent(self.home.id, self._url, "async")
        await seed.execute("UPDATE subjects SET disabled_at = now() WHERE id = $1", callers["disabled"].id)
        await seed.execute(
            "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE subject_id = $1", callers["expired"].id
        )

    async def _make_tenant(self) -> Tenant:
        id = await self._seed.make_tenant()
        agents = {
            type: await self._seed.make_agent(id, self._url, "sync" if type == "sync" else "async")
            for type in ("sync", "async")
        }
        return Tenant(id, {}, agents)

    def _roles(self, resource: Resource) -> Iterable[Relationship]:
        roles = {"owner": "owner", "editor": "editor", "viewer": "viewer", "disabled": "owner", "expired": "owner"}
        for caller, role in {**roles, "service": "editor"}.items():
            yield Relationship(resource, role, self.home.callers[caller].subject)

    async def make_target(self, ask: Ask, state: str) -> Target:
        """A target; its rows are written by `write`, but for agents."""
        mark = f"mark-{next(self._numbers)}-of-{self.home.id}"
        tenant = self.other if state == "other" else self.home
        agent = tenant.agents[ask.agent]
        if ask.on == "agent" and state != "absent":
            agent = await self._seed.make_agent(
                tenant.id, self._url, "sync" if ask.agent == "sync" else "async", private=True
            )
            status = "Deleted" if state == "deleted" else "Ready"
            await self._seed.execute(
                "UPDATE agents SET description = $2, status = $3 WHERE id = $1", agent.id, mark, status
            )
            if tenant is self.home and state == "present":
                self._relationships += self._roles(Resource("agent", agent.id))
        kinds = ("task", "message", "state", "event", "tracker", "span")
        ids = {kind: new_id() for kind in (*kinds, "key")} | {"mark": mark, "name": f"task-{new_id()}"}
        ids |= {"agent": agent.id, "agent_name": agent.name, "key_name": f"key-{ids['key']}"}
        if ask.on == "agent" and state in ("present", "other"):
            self._add_key(ids, tenant, agent)
        if ask.on == "agent" and state == "absent":
            ids |= {"agent": new_id(), "agent_name": f"absent-{new_id()}"}
        if state != "absent":
            self._add_task(ask, ids, tenant, agent, state)
        return Target(ids, agent)

    def _add_task(self, ask: Ask, ids: Ids, tenant: Tenant, agent: AgentParty, state: str) -> None:
        mark, task = {"mark": ids["mark"]}, ids["task"]
        owner = self.home.callers["owner"].id if tenant is self.home else None
        row = {"status": "RUNNING", "cleaned_at": None, **ask.task}
        if state == "deleted":
            row["status"] = "DELETED"
        elif tenant is self.home:
            self._relationships += relationships_of_task(task, tenant.id, agent.id, None)
            self._relationships += self._roles(Resource("task", task))
        else:
            self._relationships += relationships_of_task(task, tenant.id, agent.id, None)
        into = "tasks (id, tenant_id, agent_id, name, status, cleaned_at, params, task_metadata, creator_user_id)"
        name, status, cleaned_at = ids["name"], row["status"], row["cleaned_at"]
        self._add(into, task, tenant.id, agent.id, name, status, cleaned_at, mark, mark, owner)
        children: dict[str, tuple[str, tuple[Any, ...]]] = {
            "message": ("messages (id, tenant_id, task_id, content, created_at, updated_at)",
                        (text(ids["mark"]), NOW - timedelta(days=1), NOW - timedelta(days=1))),
            "state": ("states (id, tenant_id, task_id, agent_id, state)", (agent.id, mark)),
            "event": ("events (id, tenant_id, task_id, agent_id, content)", (agent.id, text(ids["mark"]))),
            "tracker": ("agent_task_trackers (id, tenant_id, task_id, agent_id, status)", (agent.id, ids["mark"])),
            "span": ("spans (id, tenant_id, task_id, trace_id, name, start_time, input, author_agent_id)",
                     ("trace", "span", NOW, mark, agent.id)),
        }  # fmt: skip
        for kind, (columns, values) in children.items():
            if kind not in ask.without:
                self._add(columns, ids[kind], tenant.id, task, *values)
        self._add("checkpoints (tenant_id, task_id, checkpoint_ns, checkpoint_id, checkpoint, metadata)",
                  tenant.id, task, "", "1", {"channel_versions": {}}, mark)  # fmt: skip

    def _add_key(self, ids: Ids, tenant: Tenant, agent: AgentParty) -> None:
        key = Resource("api_key", ids["key"])
        self._relationships += relationships_of_api_key(key.id, tenant.id, agent.id, agent.subject)
        if tenant is self.home:
            self._relationships += self._roles(key)
        columns = "agent_api_keys (id, tenant_id, agent_id, name, api_key_type, status, secret_hash)"
        self._add(columns, key.id, tenant.id, agent.id, ids["key_name"], "external", "active", key.id.encode())

    def _add(self, into: str, *values: Any) -> None:
        self._rows.setdefault(into, []).append(values)

    async def write(self) -> None:
        """Write what the targets need."""
        async with self._seed.database.transaction() as connection:
            for into, rows in self._rows.items():
                places = ", ".join(f"${number + 1}" for number in range(len(rows[0])))
                await connection.executemany(f"INSERT INTO {into} VALUES ({places})", rows)
            for start in range(0, len(self._relationships), 500):
                await self._seed.engine.write(connection, touch=self._relationships[start : start + 500])

    async def key_of(self, agent: AgentParty) -> AgentParty:
        """A caller that is an agent of a target's own; its key is one more than the one it was made with."""
        async with self._seed.database.transaction() as connection:
            key = await insert_key(connection, tenant_id=agent.tenant_id, holder=Subject("agent", agent.id))
        return AgentParty(agent.http, "agent", agent.id, agent.name, agent.tenant_id, key.secret)


async def ask_for(party: Party, route: str, ask: Ask, ids: Ids) -> tuple[int, str]:
    """Ask once: the status, and what was answered; of a stream its first frame."""
    method = route.split(maxsplit=1)[0]
    path = re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], ask.path)
    body = ask.body(ids) if ask.body else None
    if route.endswith("/stream"):
        async with party.http.stream(method, path, headers=party.headers) as response:
            async for chunk in response.aiter_text():
                return response.status_code, chunk
            return response.status_code, ""
    answer = await party.call(method, path, json=body)
    return answer.status_code, answer.text


async def in_parallel(works: Sequence[Any], most: int = 16) -> list[Any]:
    """The results of coroutines, so many at a time."""
    free = asyncio.Semaphore(most)

    async def run(work: Any) -> Any:
        async with free:
            return await work

    return await asyncio.gather(*(run(work) for work in works))
