"""`/spans`: what a program did when, as a tree of spans in a trace.

A span of a task asks the task. One without a task is for whoever wrote it and, if that was an agent, for those who may
change the agent. Ids are the writers' choice, so they are unique within a tenant and each look-up is within one.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

import asyncpg
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from remit.agents.service import AGENT
from remit.authz.caller import Caller, CurrentCaller
from remit.authz.decide import Ask
from remit.authz.errors import translate_database_errors
from remit.authz.guard import Verdict, absent, authorize, authorize_tenant, judge, label_of
from remit.authz.route import GuardedRoute, requires
from remit.content import JsonObject, Text
from remit.db.params import Params
from remit.errors import Conflict, Invalid
from remit.ids import new_id
from remit.paging import DEEPEST_ROW, DEFAULT_LIMIT, MOST_ROWS, Id
from remit.tasks.service import TASK
from remit.validation import Moment

router = APIRouter(prefix="/spans", tags=["spans"], route_class=GuardedRoute)

COLUMNS = "s.id, s.trace_id, s.task_id, s.parent_id, s.name, s.start_time, s.end_time, s.input, s.output, s.data"

# An index holds them; it takes entries of some 2,700 bytes at most.
SpanId = Annotated[Text, Field(min_length=1, max_length=256)]
Payload = JsonObject | list[JsonObject]


class Span(BaseModel):
    """A span as the wire shows it."""

    id: str
    trace_id: str
    task_id: str | None = None
    parent_id: str | None = None
    name: str
    start_time: datetime
    end_time: datetime | None = None
    input: Payload | None = None
    output: Payload | None = None
    data: Payload | None = None


class CreateSpanRequest(BaseModel):
    """A span to store; the id is made when none is given."""

    id: SpanId | None = None
    trace_id: SpanId
    task_id: Id | None = None
    parent_id: SpanId | None = None
    name: Text
    start_time: Moment
    end_time: Moment | None = None
    input: Payload | None = None
    output: Payload | None = None
    data: Payload | None = None


class UpdateSpanRequest(BaseModel):
    """What to change; what is null stays. `data` is merged, its top-level keys overwrite."""

    trace_id: SpanId | None = None
    task_id: Id | None = None
    parent_id: SpanId | None = None
    name: Text | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    input: Payload | None = None
    output: Payload | None = None
    data: Payload | None = None


def _read(row: asyncpg.Record) -> Span:
    return Span.model_validate(dict(row))


def _written_by_sql(caller: Caller, params: Params) -> str:
    """A condition over `s`: the caller wrote the span."""
    column = "author_agent_id" if caller.principal.kind == "agent" else "author_subject_id"
    return f"s.{column} = {params.add(caller.principal.id, 'uuid')}"


async def _find(caller: Caller, span_id: str, permission: str) -> asyncpg.Record:
    """The span, found and asked for in one statement, whatever the answer.

    Raises:
        NotFound: it is absent, or the caller may not read it.
        Forbidden: the caller may read its task but not change it.
    """
    params = Params()
    tenant, id = params.add(caller.principal.tenant_id, "uuid"), params.add(span_id, "text")

    def found(column: str) -> Callable[[Params], str]:
        return lambda asked: (
            f"SELECT s.{column} FROM spans s WHERE s.tenant_id = {asked.add(caller.principal.tenant_id, 'uuid')}"
            f" AND s.id = {asked.add(span_id, 'text')}"
        )

    allowed, readable, of_agent = await caller.conditions(
        params,
        Ask(permission, TASK.type, "t.id", found("task_id")),
        Ask("read", TASK.type, "t.id", found("task_id")),
        Ask("update", AGENT.type, "s.author_agent_id", found("author_agent_id")),
    )
    statement = f"""
        SELECT t.id AS guard_id, s.id AS span_id, s.task_id, t.id IS NOT NULL AND ({allowed}) AS allowed,
               t.id IS NOT NULL AND ({readable}) AS readable,
               s.task_id IS NULL AND ({_written_by_sql(caller, params)}
                 OR s.author_agent_id IS NOT NULL AND ({of_agent})) IS TRUE AS own, {COLUMNS.removeprefix("s.id, ")}
          FROM spans s LEFT JOIN tasks t ON t.id = s.task_id AND t.tenant_id = s.tenant_id AND {TASK.alive}
         WHERE s.tenant_id = {tenant} AND s.id = {id}"""
    with translate_database_errors():
        async with caller.database.connection() as connection:
            row = await connection.fetchrow(statement, *params.values)
    if row is not None and row["guard_id"] is not None:
        caller.note(TASK.type, permission, "allowed" if row["allowed"] else "denied")
        return judge(
            caller, TASK, permission, Verdict(row, row["allowed"], row["readable"], True, False), label_of(id=span_id)
        )
    own = row is not None and row["own"]
    caller.note(TASK.type, permission, "own" if own else "absent")
    if row is None or not own:
        raise absent(label_of(id=span_id))
    return row


_INSERT = f"""
WITH s AS (
  INSERT INTO spans (tenant_id, id, trace_id, task_id, parent_id, name, start_time, end_time, input, output, data,
                     author_subject_id, author_agent_id)
  SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
   WHERE $4::uuid IS NULL OR EXISTS (SELECT 1 FROM tasks t WHERE t.id = $4 AND {TASK.alive})
  ON CONFLICT (tenant_id, id) DO NOTHING RETURNING *
) SELECT {COLUMNS} FROM s
"""


@router.post("", openapi_extra=requires("task", "update", or_else=("tenant.create_task",)))
async def create_span(caller: CurrentCaller, body: CreateSpanRequest) -> Span:
    """Store a span, of a task or of the caller's own."""
    if body.task_id is not None:
        await authorize(caller, TASK, "update", id=body.task_id, columns="t.id")
    else:
        await authorize_tenant(caller, "create_task")
    is_agent = caller.principal.kind == "agent"
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(
            _INSERT,
            caller.principal.tenant_id,
            body.id or new_id(),
            body.trace_id,
            body.task_id,
            body.parent_id,
            body.name,
            body.start_time,
            body.end_time,
            body.input,
            body.output,
            body.data,
            None if is_agent else caller.principal.id,
            caller.principal.id if is_agent else None,
        )
    if row is None:
        raise Conflict("A span has this id already, or its task has just been deleted. Change a span with PATCH.")
    return _read(row)


@router.get("", openapi_extra=requires("task", "read"))
async def list_spans(
    caller: CurrentCaller,
    trace_id: Text | None = None,
    task_id: Id | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = DEFAULT_LIMIT,
    page_number: Annotated[int, Query(ge=1)] = 1,
    order_by: Annotated[Literal["start_time"] | None, Query(description="The only order.")] = None,  # noqa: ARG001 - any other is refused by the type
    order_direction: Annotated[Literal["asc", "desc"], Query(description="Latest first by default.")] = "desc",
) -> list[Span]:
    """The spans of a task, or those of a trace that the caller may read, by the time they started."""
    skip = (page_number - 1) * limit
    if skip + limit > DEEPEST_ROW:
        raise Invalid([("query.page_number", f"reaches at most {DEEPEST_ROW} rows; name a trace or a task")])
    params = Params()
    of_trace = f"s.tenant_id = {params.add(caller.principal.tenant_id, 'uuid')}"
    if trace_id is not None:
        of_trace += f" AND s.trace_id = {params.add(trace_id, 'text')}"
    if task_id is not None:
        await authorize(caller, TASK, "read", id=task_id, columns="t.id")
        where = f"{of_trace} AND s.task_id = {params.add(task_id, 'uuid')}"
    elif trace_id is not None:
        where = f"{of_trace} AND {await _visible_sql(caller, params, of_trace, trace_id)}"
        caller.note(TASK.type, "read", "listed")
    else:
        raise Invalid([("query", "must name a `trace_id` or a `task_id`")])
    statement = (
        f"SELECT {COLUMNS} FROM spans s WHERE {where} ORDER BY s.start_time {order_direction}, s.id {order_direction} "
        f"LIMIT {params.add(limit, 'int')} OFFSET {params.add(skip, 'int')}"
    )
    with translate_database_errors():
        async with caller.database.connection() as connection:
            rows = await connection.fetch(statement, *params.values)
    return [_read(row) for row in rows]


async def _visible_sql(caller: Caller, params: Params, of_trace: str, trace_id: str) -> str:
    """A condition over `s`: the caller may read it. The few tasks and agents of a trace are asked once, not per row."""
    tenant = params.add(caller.principal.tenant_id, "uuid")

    def named(column: str) -> Callable[[Params], str]:
        return lambda asked: (
            f"SELECT DISTINCT s.{column} FROM spans s WHERE"
            f" s.tenant_id = {asked.add(caller.principal.tenant_id, 'uuid')}"
            f" AND s.trace_id = {asked.add(trace_id, 'text')}"
        )

    on_task, on_agent = await caller.conditions(
        params,
        Ask("read", TASK.type, "t.id", named("task_id")),
        Ask("update", AGENT.type, "a.id", named("author_agent_id")),
    )
    return f"""(
        s.task_id = ANY (ARRAY(
          SELECT t.id FROM tasks t
           WHERE t.id IN (SELECT s.task_id FROM spans s WHERE {of_trace})
             AND t.tenant_id = {tenant} AND {TASK.alive} AND ({on_task})))
        OR s.task_id IS NULL AND ({_written_by_sql(caller, params)} OR s.author_agent_id = ANY (ARRAY(
          SELECT a.id FROM agents a
           WHERE a.id IN (SELECT s.author_agent_id FROM spans s WHERE {of_trace} AND s.task_id IS NULL)
             AND a.tenant_id = {tenant} AND ({on_agent})))))"""


@router.get("/{span_id:path}", openapi_extra=requires("task", "read"))
async def get_span(caller: CurrentCaller, span_id: Text) -> Span:
    """A span."""
    return _read_found(await _find(caller, span_id, "read"))


def _read_found(row: asyncpg.Record) -> Span:
    return Span.model_validate({**row, "id": row["span_id"]})


_UPDATE = f"""
WITH s AS (
  UPDATE spans SET trace_id = coalesce($4, trace_id), task_id = coalesce($5, task_id),
    parent_id = coalesce($6, parent_id), name = coalesce($7, name), start_time = coalesce($8, start_time),
    end_time = coalesce($9, end_time), input = coalesce($10, input), output = coalesce($11, output),
    data = CASE WHEN jsonb_typeof(data) = 'object' AND jsonb_typeof($12) = 'object' THEN data || $12
                ELSE coalesce($12, data) END
  WHERE tenant_id = $1 AND id = $2 AND task_id IS NOT DISTINCT FROM $3::uuid RETURNING *
) SELECT {COLUMNS} FROM s
"""


@router.patch("/{span_id:path}", openapi_extra=requires("task", "update"))
async def patch_span(caller: CurrentCaller, span_id: Text, body: UpdateSpanRequest) -> Span:
    """Change a span. Moving it to another task needs `update` on both."""
    found = await _find(caller, span_id, "update")
    if body.task_id is not None and body.task_id != found["task_id"]:
        await authorize(caller, TASK, "update", id=body.task_id, columns="t.id")
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(
            _UPDATE,
            caller.principal.tenant_id,
            span_id,
            found["task_id"],
            body.trace_id,
            body.task_id,
            body.parent_id,
            body.name,
            body.start_time,
            body.end_time,
            body.input,
            body.output,
            body.data,
        )
    if row is None:
        raise absent(label_of(id=span_id))  # deleted, or moved to another task, since it was found
    return _read(row)
