"""Tasks: what they look like, how they are made, changed and deleted."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import asyncpg
from pydantic import BaseModel

from remit.authz.caller import Caller
from remit.authz.engine import Engine
from remit.authz.guard import ResourceKind, absent, authorize, judge, label_of, probe
from remit.authz.model import Resource, Subject
from remit.authz.registration import deregister, relationships_of_task
from remit.db.params import Params
from remit.db.pool import Connection
from remit.errors import BadRequest
from remit.ids import NIL_ID, new_id
from remit.streams.hub import StreamHub
from remit.tasks.repeats import Origin

TASK = ResourceKind(type="task", table="tasks", alive="t.status <> 'DELETED'")

TaskStatus = Literal["RUNNING", "INTERRUPTED", "COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT", "DELETED"]
TERMINAL: frozenset[TaskStatus] = frozenset({"COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT", "DELETED"})


def _subject_name(id_sql: str) -> str:
    # Not asked about nobody: that would cost as much as finding somebody, for each row of a list.
    return f"CASE WHEN {id_sql} IS NOT NULL THEN (SELECT s.external_id FROM subjects s WHERE s.id = {id_sql}) END"


SUMMARY_COLUMNS = f"""t.id, t.name, t.status, t.status_reason, t.created_at, t.updated_at, t.cleaned_at,
t.task_metadata, t.agent_id, t.creator_agent_id, {_subject_name("t.creator_user_id")} AS creator_user_id,
{_subject_name("t.creator_service_account_id")} AS creator_service_account_id"""
COLUMNS = f"{SUMMARY_COLUMNS}, t.params"
# The agent's row in one column: what an RPC needs of it, without a statement of its own.
AGENT_COLUMN = "(SELECT to_jsonb(a) FROM agents a WHERE a.id = t.agent_id AND a.status <> 'Deleted') AS agent"


class Task(BaseModel):
    """A task as the wire shows it, with who made it: a user, a service account, an agent, or nobody."""

    id: str
    name: str | None = None
    status: TaskStatus | None = None
    status_reason: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    cleaned_at: datetime | None = None
    params: dict[str, Any] | None = None
    task_metadata: dict[str, Any] | None = None
    agent_id: str
    creator_user_id: str | None = None
    creator_service_account_id: str | None = None
    creator_agent_id: str | None = None


def read_task(row: asyncpg.Record) -> Task:
    """The wire shape of a row selected with `COLUMNS`."""
    return Task.model_validate(dict(row))


async def insert_task(
    connection: Connection,
    engine: Engine,
    *,
    tenant_id: str,
    agent_id: str,
    creator: Subject | None,
    name: str | None = None,
    params: dict[str, Any] | None = None,
    task_metadata: dict[str, Any] | None = None,
) -> asyncpg.Record | None:
    """Insert a task, its relationships and its tracker: one statement, so all of it or nothing.

    Args:
        connection: with or without a transaction.
        engine: where the relationships go.
        tenant_id: the tenant.
        agent_id: the agent that will work on it.
        creator: who made it; None outside a request.
        name: unique among the tenant's tasks that are not deleted.
        params: for the agent.
        task_metadata: for whoever made it.

    Returns:
        The row with `COLUMNS`, or None when the name is taken.
    """
    sql = Params()
    queries = insert_task_sql(
        sql,
        engine,
        tenant_id=tenant_id,
        agent_id=agent_id,
        creator=creator,
        name=name,
        params=params,
        task_metadata=task_metadata,
    )
    row = await connection.fetchrow(f"WITH {queries} SELECT * FROM written", *sql.values)
    return row if row["id"] is not None else None


def insert_task_sql(
    sql: Params,
    engine: Engine,
    *,
    tenant_id: str,
    agent_id: str | None,
    creator: Subject | None,
    name: str | None,
    params: dict[str, Any] | None,
    task_metadata: dict[str, Any] | None,
    origin: Origin | None = None,
    source: str = "",
) -> str:
    """`insert_task` as WITH queries of a larger statement; the last one, `written`, has a row if the source has one.

    Its columns are `COLUMNS`, null where no task was made, and `earlier_id`: the task of the same request, if there was
    one. Where that is null as well, the name is taken.

    Args:
        sql: the statement's parameters.
        engine: as in `insert_task`.
        tenant_id: as in `insert_task`.
        agent_id: the agent, or None for `guard_id` of the source.
        creator: as in `insert_task`.
        name: as in `insert_task`.
        params: as in `insert_task`.
        task_metadata: as in `insert_task`.
        origin: the request, where it is to get the task of the same request instead (`remit.tasks.repeats`).
        source: FROM and WHERE: the task is inserted if it has a row, of which there may be one.
    """
    task_id, unknown_agent = new_id(), new_id()
    task, tenant = sql.add(task_id, "uuid"), sql.add(tenant_id, "uuid")
    agent = "guard_id" if agent_id is None else sql.add(agent_id, "uuid")
    creators = [
        sql.add(creator.id, "uuid") if creator and creator.type == kind else "NULL::uuid"
        for kind in ("user", "service_account", "agent")
    ]
    when = f"EXISTS (SELECT 1 FROM row) AND {engine.mode_policy.registers_sql(sql, tenant_id, 'task')}"
    relationships = engine.insert_sql(
        sql,
        relationships_of_task(task_id, tenant_id, agent_id or unknown_agent, creator),
        when=when,
        found={unknown_agent: "(SELECT agent_id FROM row)"},
    )
    owed = engine.outbox_sql(sql, Resource("task", task_id), tenant_id, when=when)
    earlier = origin.find_sql(sql) if origin is not None else "NULL::uuid"
    request_hash, repeated = (origin.request_hash, origin.repeated) if origin is not None else (None, False)
    return f"""wanted AS MATERIALIZED (
          SELECT {agent} AS agent_id, {earlier} AS earlier_id {source}
        ), row AS (
          INSERT INTO tasks (id, tenant_id, agent_id, name, status, status_reason, params, task_metadata,
                             creator_user_id, creator_service_account_id, creator_agent_id, authz_zedtoken,
                             request_hash, repeated_at)
          SELECT {task}, {tenant}, w.agent_id, {sql.add(name, "text")}, 'RUNNING',
                 'Task created, forwarding to agent', {sql.add(params, "jsonb")}, {sql.add(task_metadata, "jsonb")},
                 {", ".join(creators)}, {engine.zedtoken_sql(sql)}, {sql.add(request_hash, "bytea")},
                 {"clock_timestamp()" if repeated else "NULL"}
            FROM wanted w WHERE w.earlier_id IS NULL
          ON CONFLICT (tenant_id, name) WHERE status <> 'DELETED' DO NOTHING
          RETURNING *
        ), registered AS ({relationships}
        ){f", outboxed AS ({owed})" if owed else ""}, tracked AS (
          INSERT INTO agent_task_trackers (id, tenant_id, task_id, agent_id)
          SELECT {sql.add(new_id(), "uuid")}, {tenant}, {task}, agent_id FROM row
        ), written AS (SELECT {COLUMNS}, w.earlier_id FROM wanted w LEFT JOIN row t ON TRUE)"""


_TRANSITION = f"""
WITH t AS (
  UPDATE tasks SET status = $2, status_reason = $3, updated_at = now()
   WHERE id = $1 AND status = ANY($4::text[]) RETURNING *
) SELECT {COLUMNS} FROM t
"""


async def change_status(
    connection: Connection, task_id: str, status: TaskStatus, reason: str | None, *, only_from: Sequence[TaskStatus]
) -> Task | None:
    """Move a task to a status, if it is in one of `only_from` at that moment; None otherwise."""
    row = await connection.fetchrow(_TRANSITION, task_id, status, reason, list(only_from))
    return read_task(row) if row else None


async def transition_task(
    caller: Caller, hub: StreamHub, task_id: str, permission: str, status: TaskStatus, reason: str
) -> Task:
    """A transition that a caller asks for: from RUNNING or INTERRUPTED to a terminal status, or RUNNING to INTERRUPTED.

    Raises:
        NotFound, Forbidden: as the permission decides.
        BadRequest: the task's status does not allow it, also when another transition was faster.
    """
    await authorize(caller, TASK, permission, id=task_id, columns="t.id")
    only_from: Sequence[TaskStatus] = ("RUNNING",) if status == "INTERRUPTED" else ("RUNNING", "INTERRUPTED")
    async with caller.database.connection() as connection:
        task = await change_status(connection, task_id, status, reason, only_from=only_from)
    if task is None:
        raise BadRequest(f"The task's status does not allow it to become {status}.")
    publish_task(hub, task)
    return task


def publish_task(hub: StreamHub, task: Task) -> None:
    """Tell the task's readers how it is now."""
    hub.publish(task.id, {"type": "task_updated", "task": task.model_dump(mode="json")})


_UPDATE = f"""
WITH t AS (
  UPDATE tasks SET
    task_metadata = CASE WHEN $2::jsonb IS NULL THEN task_metadata ELSE $2::jsonb END,
    params = CASE WHEN $3::jsonb IS NULL THEN params ELSE coalesce(params, '{{}}'::jsonb) || $3::jsonb END,
    updated_at = CASE WHEN $2::jsonb IS NULL AND coalesce($3::jsonb, '{{}}') = '{{}}' THEN updated_at ELSE now() END
  WHERE id = $1 AND status <> 'DELETED' RETURNING *
) SELECT {COLUMNS} FROM t
"""


async def update_task(
    caller: Caller,
    hub: StreamHub,
    *,
    id: str | None = None,
    name: str | None = None,
    task_metadata: dict[str, Any] | None,
    merge_params: dict[str, Any] | None,
) -> Task:
    """Replace the metadata, merge into the params (top-level keys overwrite); what is None stays as it is."""
    found = await authorize(caller, TASK, "update", id=id, name=name, columns="t.id")
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(_UPDATE, found["id"], task_metadata, merge_params)
    if row is None:
        raise absent(label_of(id=id, name=name))
    task = read_task(row)
    if task_metadata is not None or merge_params:
        publish_task(hub, task)
    return task


async def reuse_task(
    caller: Caller, hub: StreamHub, row: asyncpg.Record, name: str, params: dict[str, Any] | None
) -> asyncpg.Record:
    """The existing task of a name, for a create that found it, and whose caller may update it.

    Params that differ overwrite, an interrupted task runs again.

    Raises:
        NotFound: it has been deleted meanwhile.
    """
    if row["status"] != "INTERRUPTED" and (params is None or params == row["params"]):
        return row
    async with caller.database.connection() as connection:
        changed = await connection.fetchrow(
            f"""
            WITH t AS (
              UPDATE tasks SET params = coalesce($2::jsonb, params), updated_at = now(),
                status = CASE WHEN status = 'INTERRUPTED' THEN 'RUNNING' ELSE status END,
                status_reason = CASE WHEN status = 'INTERRUPTED' THEN 'Task resumed' ELSE status_reason END
               WHERE id = $1 AND status <> 'DELETED' RETURNING *
            ) SELECT {COLUMNS}, {AGENT_COLUMN} FROM t
            """,
            row["id"],
            params,
        )
    if changed is None:
        raise absent(label_of(name=name))
    publish_task(hub, read_task(changed))
    return changed


async def delete_task(caller: Caller, hub: StreamHub, *, id: str | None = None, name: str | None = None) -> str:
    """Delete a task softly: it and its children answer 404, its relationships go, its name is free again.

    Returns:
        Its id.
    """
    found = await authorize(caller, TASK, "delete", id=id, name=name, columns="t.id")
    async with caller.database.transaction() as connection:
        task = await change_status(
            connection,
            found["id"],
            "DELETED",
            "Task deleted",
            only_from=("RUNNING", "INTERRUPTED", *sorted(TERMINAL - {"DELETED"})),
        )
        if task is None:
            raise absent(label_of(id=id, name=name))
        resource = Resource("task", task.id)
        await deregister(caller.engine, connection, resource, actor=caller.actor, request_id=caller.request_id)
    publish_task(hub, task)
    await caller.tell(resource)
    return task.id


async def authorize_child(caller: Caller, permission: str, task_id: str | None, child_id: str) -> None:
    """Ask for a permission on the task of a child row; the child is absent wherever the task is.

    Args:
        caller: who asks.
        permission: a permission of the task.
        task_id: the child's task, None for a child that does not exist: the same statement is run all the same.
        child_id: how the caller named the child.

    Raises:
        NotFound: the child is absent for this caller.
        Forbidden: he may read its task but not do this.
    """
    verdict = await probe(caller, TASK, permission, id=task_id or NIL_ID, columns="t.id")
    judge(caller, TASK, permission, verdict, label_of(id=child_id))
