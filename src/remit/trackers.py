"""`/tracker`: how far an agent is with the events of a task. Each task has one, made with it."""

from datetime import datetime
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from remit.authz.caller import CurrentCaller
from remit.authz.guard import absent, label_of, probe
from remit.authz.route import GuardedRoute, requires
from remit.content import Text
from remit.errors import BadRequest
from remit.paging import Id, Page, read_page
from remit.tasks.children import ChildTable, list_of_task, list_of_visible_tasks
from remit.tasks.service import TASK, authorize_child

router = APIRouter(prefix="/tracker", tags=["tracker"], route_class=GuardedRoute)

COLUMNS = (
    "c.id, c.task_id, c.agent_id, c.status, c.status_reason, c.last_processed_event_id, c.created_at, c.updated_at"
)
TRACKERS = ChildTable("agent_task_trackers", COLUMNS)


class AgentTaskTracker(BaseModel):
    """A tracker as the wire shows it."""

    id: str
    agent_id: str
    task_id: str
    status: str | None = None
    status_reason: str | None = None
    last_processed_event_id: str | None = None
    created_at: datetime
    updated_at: datetime | None = None


class UpdateAgentTaskTrackerRequest(BaseModel):
    """Where the agent is now. A status that is absent becomes null; an event that is absent leaves the cursor."""

    last_processed_event_id: Id | None = None
    status: Text | None = None
    status_reason: Text | None = None


def _read(row: asyncpg.Record) -> AgentTaskTracker:
    return AgentTaskTracker.model_validate(dict(row))


async def _find(caller: CurrentCaller, tracker_id: str, permission: str) -> AgentTaskTracker:
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM agent_task_trackers c WHERE c.id = $1", tracker_id)
    await authorize_child(caller, permission, row["task_id"] if row else None, tracker_id)
    assert row is not None, "an absent child has no task that could be read"
    return _read(row)


@router.get("", openapi_extra=requires("task", "read"))
async def list_trackers(
    caller: CurrentCaller,
    response: Response,
    page: Annotated[Page, Depends(read_page)],
    task_id: Id | None = None,
    agent_id: Id | None = None,
) -> list[AgentTaskTracker]:
    """The trackers of the tasks that the caller may read, newest task first. One that is unseen has none."""
    if task_id is None:
        rows = await list_of_visible_tasks(caller, response, page, TRACKERS, agent_id)
    elif (await probe(caller, TASK, "read", id=task_id, columns="t.id")).allowed:
        rows = await list_of_task(caller, page, TRACKERS, task_id, agent_id)
    else:
        rows = []
    return [_read(row) for row in rows]


@router.get("/{tracker_id}", openapi_extra=requires("task", "read"))
async def get_tracker(caller: CurrentCaller, tracker_id: Id) -> AgentTaskTracker:
    """A tracker."""
    return await _find(caller, tracker_id, "read")


# The number is compared within the update, so that of two writers at once the later position stays, whoever is last.
_UPDATE = f"""
WITH c AS (
  UPDATE agent_task_trackers k SET status = $2, status_reason = $3, updated_at = now(),
    last_processed_event_id = coalesce($4, k.last_processed_event_id),
    last_processed_sequence_id = coalesce(event.number, k.last_processed_sequence_id)
  FROM (SELECT (SELECT e.sequence_id FROM events e
                 WHERE e.id = $4 AND e.task_id = $5 AND e.agent_id = $6) AS number) event
  WHERE k.id = $1 AND ($4::uuid IS NULL OR event.number >= coalesce(k.last_processed_sequence_id, event.number))
  RETURNING k.*
) SELECT {COLUMNS} FROM c
"""


@router.put("/{tracker_id}", openapi_extra=requires("task", "update"))
async def put_tracker(caller: CurrentCaller, tracker_id: Id, body: UpdateAgentTaskTrackerRequest) -> AgentTaskTracker:
    """Say where the agent is. The cursor moves only forward; the same place again is no error."""
    found = await _find(caller, tracker_id, "update")
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(
            _UPDATE,
            found.id,
            body.status,
            body.status_reason,
            body.last_processed_event_id,
            found.task_id,
            found.agent_id,
        )
    if row is None and body.last_processed_event_id is None:
        raise absent(label_of(id=tracker_id))
    if row is None:
        raise BadRequest(
            "last_processed_event_id must be an event of this task, and not one before the event that is processed "
            "already. Read the tracker for where it is."
        )
    return _read(row)
