"""`/tasks`: read, list, change, delete, share, and the live stream."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from remit.agents.service import AGENT, Agent, read_agent
from remit.agents.service import COLUMNS as AGENT_COLUMNS
from remit.authz.caller import Caller, CurrentCaller
from remit.authz.guard import authorize, probe
from remit.authz.route import GuardedRoute, parse_filter, requires
from remit.authz.sharing import AccessList, Role, ShareRequest, SubjectName, SubjectType, list_access, share, unshare
from remit.authz.visible import list_visible
from remit.content import JsonObject, Text
from remit.db.params import Params
from remit.identity.authenticate import is_still_good
from remit.limits import TicketedStream
from remit.paging import Id, Page, PageQuery
from remit.query import describe_query, read_query
from remit.streams.hub import StreamHub, get_hub
from remit.tasks.service import (
    COLUMNS,
    SUMMARY_COLUMNS,
    TASK,
    Task,
    TaskStatus,
    delete_task,
    read_task,
    transition_task,
    update_task,
)
from remit.tasks.stream import stream_task
from remit.wire import DeleteResponse, answer_rows

router = APIRouter(tags=["tasks"], route_class=GuardedRoute)

Hub = Annotated[StreamHub, Depends(get_hub)]
_AGENTS, _RELATIONSHIPS = "^agents$", "`agents` adds the task's agents."
Relationships = Annotated[str | None, Query(pattern=_AGENTS, description=_RELATIONSHIPS)]


class TaskDetail(Task):
    """A task, with its agents when they were asked for."""

    agents: list[Agent] | None = None


class TaskSummary(BaseModel):
    """A task in a list: everything but its params."""

    id: str
    name: str | None = None
    status: TaskStatus | None = None
    status_reason: str | None = None
    created_at: Any = None
    updated_at: Any = None
    cleaned_at: Any = None
    task_metadata: dict[str, Any] | None = None
    agent_id: str
    creator_user_id: str | None = None
    creator_service_account_id: str | None = None
    creator_agent_id: str | None = None
    agents: list[Agent] | None = None


_SUMMARY = tuple(name for name in TaskSummary.model_fields if name != "agents")


class UpdateTaskRequest(BaseModel):
    """What to change; what is null stays."""

    task_metadata: JsonObject | None = None
    merge_params: JsonObject | None = None


class StatusReason(BaseModel):
    """Why a task changes its status."""

    reason: Text | None = None


class TaskQuery(PageQuery):
    """Which tasks are listed, and which page of them."""

    agent_id: Id | None = None
    agent_name: Text | None = None
    status: Literal["RUNNING", "INTERRUPTED", "COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT"] | None = (
        None
    )
    task_metadata: str | None = None
    relationships: str | None = Field(None, pattern=_AGENTS, description=_RELATIONSHIPS)
    creator: Literal["me"] | None = Field(None, description="`me`: tasks that the caller created.")
    creator_user_id: Text | None = None
    creator_service_account_id: Text | None = None


def filter_tasks(caller: Caller, params: Params, query: TaskQuery) -> list[str]:
    """The list's filters as conditions over `t`.

    Raises:
        Invalid: `task_metadata` is no JSON object.
    """
    where = []
    tenant = params.add(caller.principal.tenant_id, "uuid")
    if query.agent_id is not None:
        where.append(f"t.agent_id = {params.add(query.agent_id, 'uuid')}")
    if query.agent_name is not None:
        where.append(
            f"t.agent_id IN (SELECT a.id FROM agents a WHERE a.tenant_id = {tenant} "
            f"AND a.name = {params.add(query.agent_name, 'text')})"
        )
    if query.status is not None:
        where.append(f"t.status = {params.add(query.status, 'text')}")
    if query.task_metadata is not None:
        metadata = parse_filter("task_metadata", query.task_metadata)
        where.append(f"t.task_metadata @> {params.add(metadata, 'jsonb')}")
    if query.creator is not None:
        column = {"user": "creator_user_id", "service_account": "creator_service_account_id"}.get(
            caller.principal.kind, "creator_agent_id"
        )
        where.append(f"t.{column} = {params.add(caller.principal.id, 'uuid')}")
    for column, kind, value in (
        ("creator_user_id", "user", query.creator_user_id),
        ("creator_service_account_id", "service_account", query.creator_service_account_id),
    ):
        if value is not None:
            name = params.add(value, "text")
            where.append(
                f"t.{column} IN (SELECT s.id FROM subjects s WHERE s.tenant_id = {tenant} AND s.kind = '{kind}' "
                f"AND (s.external_id = {name} OR s.id::text = {name}))"
            )
    return where


@router.get(
    "/tasks", openapi_extra=requires("task", "read") | describe_query(TaskQuery), response_model=list[TaskSummary]
)
async def list_tasks(caller: CurrentCaller, query: Annotated[TaskQuery, Depends(read_query(TaskQuery))]) -> Response:
    """The tasks that the caller may read, newest first. `x-next-cursor` leads to the next page."""
    params, page = Params(), query.page()
    where = filter_tasks(caller, params, query)
    listed = await list_visible(caller, TASK, page, columns=SUMMARY_COLUMNS, where=where, params=params)
    agents = await _read_agents(caller, {row["agent_id"] for row in listed.rows}) if query.relationships else {}
    tasks = [{name: row[name] for name in _SUMMARY} for row in listed.rows]
    for task in tasks:
        agent = agents.get(task["agent_id"])
        task["agents"] = ([agent.model_dump(mode="json")] if agent else []) if query.relationships else None
    return answer_rows(tasks, {"x-next-cursor": listed.next_cursor} if listed.next_cursor else None)


async def _read_agents(caller: CurrentCaller, ids: set[str]) -> dict[str, Agent]:
    """Those of the agents that the caller may read, by id."""
    params = Params()
    where = [f"t.id = ANY({params.add(sorted(ids), 'uuid[]')})"]
    page = Page(limit=max(len(ids), 1), before=None, skip=0)
    listed = await list_visible(caller, AGENT, page, columns=AGENT_COLUMNS, where=where, params=params)
    return {row["id"]: read_agent(row) for row in listed.rows}


async def _get_detail(
    caller: CurrentCaller, relationships: str | None, *, id: str | None = None, name: str | None = None
) -> TaskDetail:
    row = await authorize(caller, TASK, "read", id=id, name=name, columns=COLUMNS)
    task = TaskDetail.model_validate(dict(row))
    if relationships:
        task.agents = list((await _read_agents(caller, {task.agent_id})).values())
    return task


@router.get("/tasks/{task_id}", openapi_extra=requires("task", "read"))
async def get_task(caller: CurrentCaller, task_id: Id, relationships: Relationships = None) -> TaskDetail:
    """A task."""
    return await _get_detail(caller, relationships, id=task_id)


@router.get("/tasks/name/{task_name}", openapi_extra=requires("task", "read"))
async def get_task_by_name(caller: CurrentCaller, task_name: Text, relationships: Relationships = None) -> TaskDetail:
    """A task by its name within the caller's tenant."""
    return await _get_detail(caller, relationships, name=task_name)


@router.put("/tasks/{task_id}", openapi_extra=requires("task", "update"))
async def put_task(caller: CurrentCaller, hub: Hub, task_id: Id, body: UpdateTaskRequest) -> Task:
    """Change a task's metadata and params."""
    return await update_task(caller, hub, id=task_id, task_metadata=body.task_metadata, merge_params=body.merge_params)


@router.put("/tasks/name/{task_name}", openapi_extra=requires("task", "update"))
async def put_task_by_name(caller: CurrentCaller, hub: Hub, task_name: Text, body: UpdateTaskRequest) -> Task:
    """Change a task's metadata and params, by its name."""
    return await update_task(
        caller, hub, name=task_name, task_metadata=body.task_metadata, merge_params=body.merge_params
    )


@router.delete("/tasks/{task_id}", openapi_extra=requires("task", "delete"))
async def remove_task(caller: CurrentCaller, hub: Hub, task_id: Id) -> DeleteResponse:
    """Delete a task, for everybody."""
    return DeleteResponse(id=await delete_task(caller, hub, id=task_id), message=f"Task {task_id} deleted")


@router.delete("/tasks/name/{task_name}", openapi_extra=requires("task", "delete"))
async def remove_task_by_name(caller: CurrentCaller, hub: Hub, task_name: Text) -> DeleteResponse:
    """Delete a task, by its name."""
    return DeleteResponse(id=await delete_task(caller, hub, name=task_name), message=f"Task {task_name} deleted")


_TRANSITIONS: dict[str, tuple[str, TaskStatus, str]] = {
    "complete": ("update", "COMPLETED", "Task completed"),
    "fail": ("update", "FAILED", "Task failed"),
    "cancel": ("cancel", "CANCELED", "Task canceled"),
    "terminate": ("update", "TERMINATED", "Task terminated"),
    "timeout": ("update", "TIMED_OUT", "Task timed out"),
    "interrupt": ("update", "INTERRUPTED", "Task interrupted"),
}


def _add_transition(verb: str, permission: str, status: TaskStatus, default_reason: str) -> None:
    async def transition(caller: CurrentCaller, hub: Hub, task_id: Id, body: StatusReason | None = None) -> Task:
        reason = (body.reason if body else None) or default_reason
        return await transition_task(caller, hub, task_id, permission, status, reason)

    router.add_api_route(
        f"/tasks/{{task_id}}/{verb}",
        transition,
        methods=["POST"],
        name=f"{verb}_task",
        description=f"Move a task to {status}. The agent is not called.",
        openapi_extra=requires("task", permission),
    )


for _verb, _transition in _TRANSITIONS.items():
    _add_transition(_verb, *_transition)


@router.get("/tasks/{task_id}/access", openapi_extra=requires("task", "share"))
async def get_access(caller: CurrentCaller, task_id: Id) -> AccessList:
    """Who holds which role on a task."""
    return await list_access(caller, TASK, task_id)


@router.put("/tasks/{task_id}/access", openapi_extra=requires("task", "share"))
async def put_access(caller: CurrentCaller, task_id: Id, body: ShareRequest) -> AccessList:
    """Give a user, a service account or a group of the tenant a role on a task."""
    return await share(caller, TASK, task_id, body)


@router.delete("/tasks/{task_id}/access", openapi_extra=requires("task", "share"))
async def delete_access(
    caller: CurrentCaller, task_id: Id, subject_type: SubjectType, subject_id: SubjectName, role: Role | None = None
) -> AccessList:
    """Take a role on a task away; all roles of the subject when none is named."""
    return await unshare(caller, TASK, task_id, subject_type, subject_id, role)


async def _stream(caller: CurrentCaller, request: Request, hub: StreamHub, task: Task) -> StreamingResponse:
    ticket = request.app.state.limits.take_stream(caller.actor)
    try:
        after = await hub.tail(task.id)
    except BaseException:
        ticket.release()
        raise
    frames = stream_task(
        task,
        hub=hub,
        after=after,
        ping=request.app.state.settings.stream_ping,
        still_visible=lambda: _is_visible(caller, task.id),
        resume_from=request.headers.get("last-event-id"),
    )
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return TicketedStream(ticket, frames, "text/event-stream", headers)


async def _is_visible(caller: CurrentCaller, task_id: str) -> Task | None:
    if not await is_still_good(caller.database, caller.principal):
        return None
    verdict = await probe(caller, TASK, "read", id=task_id, columns=COLUMNS)
    return read_task(verdict.row) if verdict.row is not None and verdict.allowed else None


@router.get("/tasks/{task_id}/stream", openapi_extra=requires("task", "read"), response_class=StreamingResponse)
async def stream_events(caller: CurrentCaller, request: Request, hub: Hub, task_id: Id) -> StreamingResponse:
    """The task's live updates, as server-sent events."""
    return await _stream(
        caller, request, hub, read_task(await authorize(caller, TASK, "read", id=task_id, columns=COLUMNS))
    )


@router.get("/tasks/name/{task_name}/stream", openapi_extra=requires("task", "read"), response_class=StreamingResponse)
async def stream_events_by_name(
    caller: CurrentCaller, request: Request, hub: Hub, task_name: Text
) -> StreamingResponse:
    """The task's live updates, by its name."""
    return await _stream(
        caller, request, hub, read_task(await authorize(caller, TASK, "read", name=task_name, columns=COLUMNS))
    )
