"""`/tasks/{id}/export`, `clean`, `rehydrate`: what a task holds goes out, is deleted, and comes back.

An exported snapshot is fed to rehydrate as it is. Who wrote a message is not part of it: a snapshot comes from outside
and could claim anything, so whoever brings messages back is recorded as their author.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError

from remit.authz.caller import CurrentCaller
from remit.authz.guard import absent, authorize, label_of
from remit.authz.route import GuardedRoute, parse_json, requires
from remit.content import JsonObject, TaskMessageContent, Text
from remit.db.pool import Connection
from remit.errors import BadRequest, Invalid
from remit.ids import new_id
from remit.messages.service import COLUMNS, StreamingStatus, TaskMessage, read_message
from remit.paging import Id
from remit.snapshots import LONGEST_ADDRESS, Snapshots
from remit.states import COLUMNS as STATE_COLUMNS
from remit.states import State, read_state
from remit.tasks.service import TASK
from remit.validation import Moment

router = APIRouter(prefix="/tasks", tags=["tasks"], route_class=GuardedRoute)

LONGEST_IDLE_DAYS = 36_500


class ExportTaskResponse(BaseModel):
    """What a task holds, oldest first."""

    task_id: str
    messages: list[TaskMessage]
    task_states: list[State]


class CleanTaskRequest(BaseModel):
    """`force` cleans a task that has not been idle for `idle_days`; nothing cleans one that is at work."""

    force: bool = False
    idle_days: Annotated[int, Field(ge=1, le=LONGEST_IDLE_DAYS)] = 7


class CleanTaskResponse(BaseModel):
    """What was deleted."""

    task_id: str
    cleaned_at: datetime
    messages_deleted: int
    task_states_deleted: int
    events_deleted: int


class SnapshotMessage(BaseModel):
    """A message of a snapshot."""

    id: Id | None = None
    task_id: Id
    content: TaskMessageContent
    streaming_status: StreamingStatus | None = None
    interrupted: bool = False
    created_at: Moment | None = None
    updated_at: Moment | None = None


class SnapshotState(BaseModel):
    """A state of a snapshot."""

    id: Id | None = None
    task_id: Id
    agent_id: Id
    state: JsonObject
    created_at: Moment | None = None
    updated_at: Moment | None = None


class Snapshot(BaseModel):
    """A snapshot as export gives it."""

    task_id: Id
    messages: list[SnapshotMessage] = []
    task_states: list[SnapshotState] = []


class RehydrateTaskRequest(Snapshot):
    """A snapshot, or the https address where it is."""

    snapshot_url: Annotated[Text, Field(min_length=1, max_length=LONGEST_ADDRESS)] | None = None


class ExportTaskToUrlRequest(BaseModel):
    """Where the snapshot is to be put: an https address that takes a PUT."""

    upload_url: Annotated[Text, Field(min_length=1, max_length=LONGEST_ADDRESS)]


class ExportTaskToUrlResponse(BaseModel):
    """What was put there."""

    task_id: str
    upload_url: str
    uploaded_bytes: int
    messages_count: int
    task_states_count: int


@router.get("/{task_id}/export", openapi_extra=requires("task", "read"))
async def export_task(caller: CurrentCaller, task_id: Id) -> ExportTaskResponse:
    """Everything that clean would delete and rehydrate bring back, as it is at one moment."""
    await authorize(caller, TASK, "read", id=task_id, columns="t.id")
    async with (
        caller.database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        messages = await connection.fetch(
            f"SELECT {COLUMNS} FROM messages WHERE task_id = $1 ORDER BY created_at, id", task_id
        )
        states = await connection.fetch(f"SELECT {STATE_COLUMNS} FROM states WHERE task_id = $1 ORDER BY id", task_id)
    return ExportTaskResponse(
        task_id=task_id,
        messages=[read_message(row) for row in messages],
        task_states=[read_state(row) for row in states],
    )


@router.post("/{task_id}/export", openapi_extra=requires("task", "read"))
async def export_task_to_url(
    caller: CurrentCaller, request: Request, task_id: Id, body: ExportTaskToUrlRequest
) -> ExportTaskToUrlResponse:
    """Put what a GET would answer to an address of the caller's, such as a presigned one of an object store."""
    exported = await export_task(caller, task_id)
    snapshot = exported.model_dump_json().encode()
    snapshots: Snapshots = request.app.state.snapshots
    await snapshots.put(body.upload_url, snapshot, "body.upload_url")
    return ExportTaskToUrlResponse(
        task_id=task_id,
        upload_url=body.upload_url,
        uploaded_bytes=len(snapshot),
        messages_count=len(exported.messages),
        task_states_count=len(exported.task_states),
    )


# The lock keeps events out, which take it too, until the task is clean.
_LOCK = """
SELECT t.agent_id, t.status, t.cleaned_at FROM tasks t WHERE t.id = $1 AND t.status <> 'DELETED' FOR UPDATE
"""
_STANDING = """
SELECT greatest(
         t.updated_at,
         (SELECT max(m.updated_at) FROM messages m WHERE m.task_id = t.id),
         (SELECT max(s.updated_at) FROM states s WHERE s.task_id = t.id),
         (SELECT max(e.created_at) FROM events e WHERE e.task_id = t.id)
       ) < now() - make_interval(days => $2) AS idle,
       EXISTS (SELECT 1 FROM events e LEFT JOIN agent_task_trackers k USING (task_id, agent_id)
                WHERE e.task_id = t.id AND e.sequence_id > coalesce(k.last_processed_sequence_id, 0)) AS waiting
  FROM tasks t WHERE t.id = $1
"""
_CLEAN = """
WITH cleaned_messages AS (DELETE FROM messages WHERE task_id = $1 RETURNING 1),
     cleaned_states AS (DELETE FROM states WHERE task_id = $1 RETURNING 1),
     cleaned_events AS (DELETE FROM events WHERE task_id = $1 RETURNING 1),
     reset AS (UPDATE agent_task_trackers SET last_processed_event_id = NULL, last_processed_sequence_id = NULL,
                      updated_at = now() WHERE task_id = $1),
     cleaned AS (UPDATE tasks SET cleaned_at = now() WHERE id = $1 RETURNING cleaned_at)
SELECT cleaned_at, (SELECT count(*) FROM cleaned_messages) AS messages_deleted,
       (SELECT count(*) FROM cleaned_states) AS task_states_deleted,
       (SELECT count(*) FROM cleaned_events) AS events_deleted
  FROM cleaned
"""


async def _lock(connection: Connection, task_id: str) -> asyncpg.Record:
    row = await connection.fetchrow(_LOCK, task_id)
    if row is None:
        raise absent(label_of(id=task_id))
    return row


@router.post("/{task_id}/clean", openapi_extra=requires("task", "delete"))
async def clean_task(caller: CurrentCaller, task_id: Id, body: CleanTaskRequest | None = None) -> CleanTaskResponse:
    """Delete a task's messages, states and events; the task stays, and what was exported can be brought back."""
    options = body or CleanTaskRequest()
    await authorize(caller, TASK, "delete", id=task_id, columns="t.id")
    async with caller.database.transaction() as connection:
        task = await _lock(connection, task_id)
        if task["cleaned_at"] is not None:
            return CleanTaskResponse(
                task_id=task_id,
                cleaned_at=task["cleaned_at"],
                messages_deleted=0,
                task_states_deleted=0,
                events_deleted=0,
            )
        if task["status"] == "RUNNING":
            raise BadRequest("The task is RUNNING. Complete or cancel it first.")
        standing = await connection.fetchrow(_STANDING, task_id, options.idle_days)
        assert standing is not None, "the row is locked"
        if standing["waiting"]:
            raise BadRequest("The task has events that its agent has not processed, as its tracker tells.")
        if not standing["idle"] and not options.force:
            raise BadRequest(
                f"The task has not been idle for {options.idle_days} days. `force` cleans it all the same."
            )
        cleaned = await connection.fetchrow(_CLEAN, task_id)
    assert cleaned is not None, "the row was locked"
    return CleanTaskResponse(task_id=task_id, **cleaned)


_INSERT_MESSAGES = """
INSERT INTO messages (id, tenant_id, task_id, content, streaming_status, interrupted, author_subject_id,
                      author_agent_id, created_at, updated_at)
SELECT m.id, t.tenant_id, t.id, m.content, m.streaming_status, m.interrupted, $3, $4,
       coalesce(m.created_at, now()), coalesce(m.updated_at, m.created_at, now())
  FROM tasks t, jsonb_to_recordset($2::jsonb) AS m (id uuid, content jsonb, streaming_status text, interrupted boolean,
                                                    created_at timestamptz, updated_at timestamptz)
 WHERE t.id = $1
"""
_INSERT_STATES = """
INSERT INTO states (id, tenant_id, task_id, agent_id, state, created_at, updated_at)
SELECT s.id, t.tenant_id, t.id, t.agent_id, s.state,
       coalesce(s.created_at, now()), coalesce(s.updated_at, s.created_at, now())
  FROM tasks t, jsonb_to_recordset($2::jsonb) AS s (id uuid, state jsonb, created_at timestamptz,
                                                    updated_at timestamptz)
 WHERE t.id = $1
"""


@router.post("/{task_id}/rehydrate", status_code=204, openapi_extra=requires("task", "update"))
async def rehydrate_task(caller: CurrentCaller, request: Request, task_id: Id, body: RehydrateTaskRequest) -> None:
    """Bring a snapshot back into the task that it was taken of, which must be clean: all of it or nothing."""
    await authorize(caller, TASK, "update", id=task_id, columns="t.id")
    snapshot = await _fetch(request, body)
    named = {
        body.task_id,
        snapshot.task_id,
        *(message.task_id for message in snapshot.messages),
        *(state.task_id for state in snapshot.task_states),
    }
    if named != {task_id}:
        raise BadRequest("The snapshot is of another task.")
    is_agent = caller.principal.kind == "agent"
    try:
        async with caller.database.transaction() as connection:
            task = await _lock(connection, task_id)
            if task["cleaned_at"] is None:
                raise BadRequest("The task is not clean. Only what was cleaned can be brought back.")
            if any(state.agent_id != task["agent_id"] for state in snapshot.task_states):
                raise Invalid([("body.task_states", "must be of the agent of the task")])
            await connection.execute(
                _INSERT_MESSAGES,
                task_id,
                _dump(snapshot.messages),
                None if is_agent else caller.principal.id,
                caller.principal.id if is_agent else None,
            )
            await connection.execute(_INSERT_STATES, task_id, _dump(snapshot.task_states))
            await connection.execute("UPDATE tasks SET cleaned_at = NULL WHERE id = $1", task_id)
    except asyncpg.UniqueViolationError as error:
        raise BadRequest("A message or a state of the snapshot exists already.") from error


async def _fetch(request: Request, body: RehydrateTaskRequest) -> Snapshot:
    """The snapshot of a request: in its body, or at the address that it names; no connection is held meanwhile."""
    if body.snapshot_url is None:
        return body
    if body.messages or body.task_states:
        raise Invalid([("body.snapshot_url", "must be absent where the snapshot itself is sent")])
    state = request.app.state
    snapshots: Snapshots = state.snapshots
    raw = await snapshots.get(body.snapshot_url, "body.snapshot_url")
    try:
        return Snapshot.model_validate(parse_json(raw, state.settings.max_json_depth))
    except (Invalid, ValidationError) as error:
        raise BadRequest("What the address in `body.snapshot_url` answers is no snapshot of a task.") from error


def _dump(parts: Sequence[SnapshotMessage | SnapshotState]) -> list[dict[str, Any]]:
    """JSON objects with an id each; new ids keep the order."""
    return [{**part.model_dump(mode="json"), "id": part.id or new_id()} for part in parts]
