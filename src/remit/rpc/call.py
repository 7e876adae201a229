"""What every call to an agent has with it, and the calls other than `message/send` and `task/create`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from remit.authz.caller import Caller
from remit.authz.guard import Verdict, absent, judge, label_of, probe
from remit.background import Background
from remit.errors import AgentTrouble, BadRequest, NotFound
from remit.events import insert_event
from remit.rpc.answers import AgentError
from remit.rpc.client import AgentClient, AgentMethod
from remit.rpc.envelope import SendEventParams, TaskRef
from remit.settings import Settings
from remit.streams.hub import StreamHub
from remit.tasks.repeats import Origin
from remit.tasks.service import (
    AGENT_COLUMN,
    COLUMNS,
    TASK,
    TERMINAL,
    Task,
    change_status,
    publish_task,
    read_task,
)
from remit.telemetry.metrics import AGENT_CALLS

# What an agent is told of itself; where it listens and who made it are not part of it.
_AGENT_FIELDS = (
    "id",
    "name",
    "description",
    "status",
    "status_reason",
    "acp_type",
    "agent_input_type",
    "registration_metadata",
    "registered_at",
    "created_at",
    "updated_at",
)


@dataclass(frozen=True, slots=True)
class CallContext:
    """A call of a client: who calls, the agent in the path, and what it takes to carry it out.

    Attributes:
        caller: who calls.
        agent_id: the agent in the path, by id, or else
        agent_name: by name.
        hub: where the task's readers are told.
        agents: the way to agents.
        settings: the process's settings.
        background: for what a cancelled call leaves.
        headers: the request's headers.
        origin: the request, for a repeat of it to be known by.
    """

    caller: Caller
    agent_id: str | None
    agent_name: str | None
    hub: StreamHub
    agents: AgentClient
    settings: Settings
    background: Background
    headers: Mapping[str, str]
    origin: Origin

    def is_agent(self, agent: Mapping[str, Any]) -> bool:
        """Whether an agent is the one in the path."""
        return bool(agent["id"] == self.agent_id if self.agent_id is not None else agent["name"] == self.agent_name)


async def find_task(context: CallContext, ref: TaskRef, permission: str) -> asyncpg.Record:
    """The existing task of a call, if the caller may `permission` it and it is a task of the agent in the path.

    Raises:
        BadRequest: the call names no task.
        NotFound, Forbidden: as the permission decides; another agent's task is absent here.
    """
    if ref.task_id is None and ref.task_name is None:
        raise BadRequest("The call needs a task_id or a task_name.")
    verdict = await probe_task(context, permission, id=ref.task_id, name=ref.task_name)
    label = label_of(id=ref.task_id, name=ref.task_name)
    return judge_task(context, permission, verdict, label)


async def probe_task(
    context: CallContext, permission: str, *, id: str | None = None, name: str | None = None
) -> Verdict:
    """Ask about a task, with its agent's row in the column `agent`."""
    return await probe(context.caller, TASK, permission, id=id, name=name, columns=f"{COLUMNS}, {AGENT_COLUMN}")


def judge_task(context: CallContext, permission: str, verdict: Verdict, label: str) -> asyncpg.Record:
    """The row of a verdict of `probe_task` that allows, if its agent is the one in the path.

    Raises:
        NotFound, Forbidden: as `guard.judge`; a task of another agent, or of a deleted one, is absent here.
    """
    row = judge(context.caller, TASK, permission, verdict, label)
    if row["agent"] is None or not context.is_agent(row["agent"]):
        raise absent(label)
    return row


def require_address(agent: Mapping[str, Any]) -> str:
    """Where an agent is called.

    Raises:
        BadRequest: it has not said so yet.
    """
    if not agent["acp_url"]:
        raise BadRequest("The agent has not registered yet. Start its process, then try again.")
    url: str = agent["acp_url"]
    return url


def require_type(agent: Mapping[str, Any], method: str, *types: str, unaddressed: Collection[str] = ()) -> None:
    """Refuse a method that agents of this type do not have, or for which the agent has to be called and cannot be.

    Args:
        agent: its row.
        method: the method.
        types: of the agents that have it.
        unaddressed: those types whose agents are not called.

    Raises:
        BadRequest: the agent is of another type, or has no address yet.
    """
    if agent["acp_type"] not in types:
        raise BadRequest(f"{method} is not a method of {agent['acp_type']} agents.")
    if agent["acp_type"] not in unaddressed:
        require_address(agent)


def agent_params(task: Task, agent: Mapping[str, Any]) -> dict[str, Any]:
    """The `agent` and `task` that every call to an agent carries."""
    return {"agent": {name: agent[name] for name in _AGENT_FIELDS}, "task": task.model_dump(mode="json")}


async def call_agent(
    context: CallContext, method: AgentMethod, task: Task, agent: Mapping[str, Any], **params: Any
) -> None:
    """Call an agent; no database connection is held meanwhile.

    Raises:
        AgentTrouble: it could not be called, or failed.
    """
    try:
        await context.agents.call(
            require_address(agent),
            method,
            {**agent_params(task, agent), **params},
            request_id=context.caller.request_id,
            headers=context.headers,
        )
    except AgentError as error:
        AGENT_CALLS.labels(method, type(error).__name__).inc()
        raise AgentTrouble(str(error)) from error
    AGENT_CALLS.labels(method, "ok").inc()


async def fail_task(context: CallContext, task_id: str, reason: str) -> None:
    """Mark a task FAILED, unless it has ended otherwise meanwhile."""
    async with context.caller.database.connection() as connection:
        task = await change_status(connection, task_id, "FAILED", reason, only_from=("RUNNING", "INTERRUPTED"))
    if task is not None:
        publish_task(context.hub, task)


async def send_event(context: CallContext, params: SendEventParams) -> dict[str, Any]:
    """`event/send`: store the event, then tell the agent. What to store of it is the agent's decision."""
    row = await find_task(context, params, "update")
    require_type(row["agent"], "event/send", "async", "agentic")
    content = params.content.model_dump(mode="json") if params.content is not None else None
    async with context.caller.database.connection() as connection:
        event = await insert_event(connection, row["id"], content)
    shown = event.model_dump(mode="json")
    await call_agent(context, "event/send", read_task(row), row["agent"], event=shown, request=None)
    return shown


async def cancel_task(context: CallContext, params: TaskRef) -> Task:
    """`task/cancel`: tell the agent, then mark the task CANCELED; a task that has ended stays as it is."""
    row = await find_task(context, params, "cancel")
    require_type(row["agent"], "task/cancel", "async", "agentic")
    task = read_task(row)
    if task.status in TERMINAL:
        return task
    await call_agent(context, "task/cancel", task, row["agent"])
    async with context.caller.database.connection() as connection:
        canceled = await change_status(
            connection, task.id, "CANCELED", "Task canceled", only_from=("RUNNING", "INTERRUPTED")
        )
        if canceled is None:
            ended = await connection.fetchrow(f"SELECT {COLUMNS} FROM tasks t WHERE t.id = $1", task.id)
    if canceled is not None:
        publish_task(context.hub, canceled)
        return canceled
    if ended is None or ended["status"] == "DELETED":
        raise NotFound(absent(label_of(id=params.task_id, name=params.task_name)).message)
    return read_task(ended)


async def interrupt_task(context: CallContext, params: TaskRef) -> Task:
    """`task/interrupt`: tell the agent, which says itself when it has stopped; nothing is written."""
    row = await find_task(context, params, "update")
    require_address(row["agent"])
    task = read_task(row)
    await call_agent(context, "task/interrupt", task, row["agent"])
    return task
