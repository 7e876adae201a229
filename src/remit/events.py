"""`/events`: what users send to async agents, in the order in which it was stored."""

from datetime import datetime
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Query
from pydantic import BaseModel

from remit.authz.caller import CurrentCaller
from remit.authz.guard import absent, authorize
from remit.authz.route import GuardedRoute, requires
from remit.content import TaskMessageContent
from remit.db.pool import Connection
from remit.errors import Invalid
from remit.ids import new_id
from remit.paging import Id
from remit.tasks.service import TASK, authorize_child

router = APIRouter(prefix="/events", tags=["events"], route_class=GuardedRoute)

COLUMNS = "id, sequence_id, task_id, agent_id, content, created_at"


class Event(BaseModel):
    """An event as the wire shows it. `sequence_id` grows within a task in the order of storing."""

    id: str
    sequence_id: int
    task_id: str
    agent_id: str
    content: TaskMessageContent | None = None
    created_at: datetime | None = None


def read_event(row: asyncpg.Record) -> Event:
    """The wire shape of a row selected with `COLUMNS`."""
    return Event.model_validate(dict(row))


# The number is taken under the task row's lock: agents ask for events "strictly after" one they know, so a smaller
# number must never become visible after a larger one. The join locks before the first number is taken.
_INSERT = f"""
WITH task AS MATERIALIZED (
  SELECT id, tenant_id, agent_id FROM tasks WHERE id = $2 AND status <> 'DELETED' FOR UPDATE
)
INSERT INTO events (id, tenant_id, task_id, agent_id, content)
SELECT $1, task.tenant_id, task.id, task.agent_id, $3 FROM task
RETURNING {COLUMNS}
"""


async def insert_event(connection: Connection, task_id: str, content: dict[str, Any] | None) -> Event:
    """Store an event on a task, for the task's agent.

    Raises:
        NotFound: the task has been deleted meanwhile.
    """
    row = await connection.fetchrow(_INSERT, new_id(), task_id, content)
    if row is None:
        raise absent(f"id '{task_id}'")
    return read_event(row)


@router.get("", openapi_extra=requires("task", "read"))
async def list_events(
    caller: CurrentCaller,
    task_id: Id,
    agent_id: Id,
    last_processed_event_id: Id | None = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> list[Event]:
    """The events of a task, oldest first; those strictly after `last_processed_event_id` when it is given."""
    task = await authorize(caller, TASK, "read", id=task_id, columns="t.id, t.agent_id")
    if task["agent_id"] != agent_id:
        raise Invalid([("query.agent_id", "must be the agent of the task")])
    async with caller.database.connection() as connection:
        rows = await connection.fetch(
            f"""
            SELECT {COLUMNS} FROM events
             WHERE task_id = $1 AND agent_id = $2 AND sequence_id > coalesce(
               (SELECT e.sequence_id FROM events e WHERE e.id = $3 AND e.task_id = $1), 0)
             ORDER BY sequence_id LIMIT $4
            """,
            task_id,
            agent_id,
            last_processed_event_id,
            limit,
        )
    return [read_event(row) for row in rows]


@router.get("/{event_id}", openapi_extra=requires("task", "read"))
async def get_event(caller: CurrentCaller, event_id: Id) -> Event:
    """An event."""
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM events WHERE id = $1", event_id)
    await authorize_child(caller, "read", row["task_id"] if row else None, event_id)
    assert row is not None, "an absent child has no task that could be read"
    return read_event(row)
