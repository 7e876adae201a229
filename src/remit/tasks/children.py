"""Lists of what tasks have one of each, such as states and trackers, over every task that the caller may read."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from fastapi import Response

from remit.authz.errors import translate_database_errors
from remit.authz.guard import Caller
from remit.db.params import Params
from remit.paging import Page, refuse_cursor
from remit.tasks.service import TASK


@dataclass(frozen=True, slots=True)
class ChildTable:
    """A table with at most one row per task.

    Attributes:
        name: the table, which has `task_id` and `agent_id`.
        columns: select list over the alias `c`; must include `c.task_id`.
    """

    name: str
    columns: str


async def list_of_task(
    caller: Caller, page: Page, table: ChildTable, task_id: str, agent_id: str | None
) -> Sequence[asyncpg.Record]:
    """The rows of a task that the caller has been allowed to read, oldest first; only of an agent when one is named.

    Raises:
        Invalid: the request has a cursor; a task has few of these rows.
    """
    refuse_cursor(page)
    async with caller.database.connection() as connection:
        rows: list[asyncpg.Record] = await connection.fetch(
            f"SELECT {table.columns} FROM {table.name} c WHERE c.task_id = $1 "
            "AND ($2::uuid IS NULL OR c.agent_id = $2) ORDER BY c.id LIMIT $3 OFFSET $4",
            task_id,
            agent_id,
            page.limit,
            page.skip,
        )
    return rows


async def list_of_visible_tasks(
    caller: Caller, response: Response, page: Page, table: ChildTable, agent_id: str | None
) -> Sequence[asyncpg.Record]:
    """The rows that belong to tasks which the caller may read, newest task first: one statement.

    Args:
        caller: who asks.
        response: gets `x-next-cursor` when there may be more.
        page: which part of the list; its cursor is a task's id.
        table: what is listed.
        agent_id: only of this agent.
    """
    params = Params()
    tenant = params.add(caller.principal.tenant_id, "uuid")
    of_agent = f" AND t.agent_id = {params.add(agent_id, 'uuid')}" if agent_id else ""
    visible = caller.decider.visible_sql(
        params,
        caller.principal,
        TASK.type,
        table=TASK.table,
        columns="t.id",
        where=f"t.tenant_id = {tenant} AND {TASK.alive}{of_agent} "
        f"AND EXISTS (SELECT 1 FROM {table.name} c WHERE c.task_id = t.id)",
        before_sql=params.add(page.before, "uuid") if page.before else None,
        limit=page.rows_needed,
    )
    statement = (
        f"SELECT {table.columns} FROM ({visible}) v JOIN {table.name} c ON c.task_id = v.id "
        f"ORDER BY v.id DESC OFFSET {params.add(page.skip, 'int')}"
    )
    with translate_database_errors():
        async with caller.database.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *params.values)
    caller.note(TASK.type, "read", "listed")
    if cursor := page.next_cursor([row["task_id"] for row in rows]):
        response.headers["x-next-cursor"] = cursor
    return rows
