"""`/states`: what an agent remembers of a task; one state per task and agent."""

from datetime import datetime
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from remit.authz.caller import CurrentCaller
from remit.authz.guard import absent, authorize
from remit.authz.route import GuardedRoute, requires
from remit.content import JsonObject
from remit.errors import Conflict, Invalid
from remit.ids import new_id
from remit.paging import Id, Page, read_page
from remit.tasks.children import ChildTable, list_of_task, list_of_visible_tasks
from remit.tasks.service import TASK, authorize_child

router = APIRouter(prefix="/states", tags=["states"], route_class=GuardedRoute)

COLUMNS = "id, task_id, agent_id, state, created_at, updated_at"
STATES = ChildTable("states", "c.id, c.task_id, c.agent_id, c.state, c.created_at, c.updated_at")


class State(BaseModel):
    """A state as the wire shows it."""

    id: str
    task_id: str
    agent_id: str
    state: dict[str, Any]
    created_at: datetime
    updated_at: datetime | None = None


class CreateStateRequest(BaseModel):
    """The first state of an agent on a task."""

    task_id: Id
    agent_id: Id
    state: JsonObject


class UpdateStateRequest(BaseModel):
    """The state that replaces the one before. Ids that come with it are not looked at: the path decides."""

    state: JsonObject


def read_state(row: asyncpg.Record) -> State:
    """The wire shape of a row selected with `COLUMNS`."""
    return State.model_validate(dict(row))


async def _find(caller: CurrentCaller, state_id: str, permission: str) -> State:
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM states WHERE id = $1", state_id)
    await authorize_child(caller, permission, row["task_id"] if row else None, state_id)
    assert row is not None, "an absent child has no task that could be read"
    return read_state(row)


@router.post("", openapi_extra=requires("task", "update"))
async def create_state(caller: CurrentCaller, body: CreateStateRequest) -> State:
    """Store the first state of an agent on a task."""
    task = await authorize(caller, TASK, "update", id=body.task_id, columns="t.id, t.agent_id")
    if task["agent_id"] != body.agent_id:
        raise Invalid([("body.agent_id", "must be the agent of the task")])
    try:
        async with caller.database.connection() as connection:
            row = await connection.fetchrow(
                f"INSERT INTO states (id, tenant_id, task_id, agent_id, state) VALUES ($1, $2, $3, $4, $5) "
                f"RETURNING {COLUMNS}",
                new_id(),
                caller.principal.tenant_id,
                body.task_id,
                body.agent_id,
                body.state,
            )
    except asyncpg.UniqueViolationError as error:
        raise Conflict("The agent has a state on this task. Update that one.") from error
    assert row is not None, "an insert returns its row"
    return read_state(row)


@router.get("", openapi_extra=requires("task", "read"))
async def list_states(
    caller: CurrentCaller,
    response: Response,
    page: Annotated[Page, Depends(read_page)],
    task_id: Id | None = None,
    agent_id: Id | None = None,
) -> list[State]:
    """The states of a task, or of all tasks that the caller may read, newest task first."""
    if task_id is not None:
        await authorize(caller, TASK, "read", id=task_id, columns="t.id")
        rows = await list_of_task(caller, page, STATES, task_id, agent_id)
    else:
        rows = await list_of_visible_tasks(caller, response, page, STATES, agent_id)
    return [read_state(row) for row in rows]


@router.get("/{state_id}", openapi_extra=requires("task", "read"))
async def get_state(caller: CurrentCaller, state_id: Id) -> State:
    """A state."""
    return await _find(caller, state_id, "read")


@router.put("/{state_id}", openapi_extra=requires("task", "update"))
async def put_state(caller: CurrentCaller, state_id: Id, body: UpdateStateRequest) -> State:
    """Replace a state."""
    found = await _find(caller, state_id, "update")
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(
            f"UPDATE states SET state = $2, updated_at = now() WHERE id = $1 RETURNING {COLUMNS}", found.id, body.state
        )
    if row is None:
        raise absent(f"id '{state_id}'")
    return read_state(row)


@router.delete("/{state_id}", openapi_extra=requires("task", "delete"))
async def delete_state(caller: CurrentCaller, state_id: Id) -> State:
    """Remove a state, and return it."""
    found = await _find(caller, state_id, "delete")
    async with caller.database.connection() as connection:
        await connection.execute("DELETE FROM states WHERE id = $1", found.id)
    return found
