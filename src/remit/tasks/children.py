"""Lists of what tasks have one of each, such as states and trackers, over every task that the caller may read."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from fastapi import Response

from remit.authz.caller import Caller
from remit.authz.visible import list_visible
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
    """The rows that belong to tasks which the caller may read, newest task first: their ids, then their rows.

    Args:
        caller: who asks.
        response: gets `x-next-cursor` when there may be more.
        page: which part of the list; its cursor is a task's id.
        table: what is listed.
        agent_id: only of this agent.
    """
    params = Params()
    where = [f"EXISTS (SELECT 1 FROM {table.name} c WHERE c.task_id = t.id)"]
    if agent_id:
        where.append(f"t.agent_id = {params.add(agent_id, 'uuid')}")
    tasks = await list_visible(caller, TASK, page, columns="t.id", where=where, params=params)
    if tasks.next_cursor:
        response.headers["x-next-cursor"] = tasks.next_cursor
    async with caller.database.connection() as connection:
        rows: list[asyncpg.Record] = await connection.fetch(
            f"SELECT {table.columns} FROM {table.name} c WHERE c.task_id = ANY ($1) ORDER BY c.task_id DESC, c.id DESC",
            [row["id"] for row in tasks.rows],
        )
    return rows
