"""`task/create`, and the task of a `message/send` that names none: got, or made by the statement that allows it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import asyncpg

from remit.agents.service import AGENT
from remit.authz.delivery import Outcome
from remit.authz.guard import Question, deny_tenant, judge, label_of
from remit.authz.model import Resource
from remit.authz.outbox import forward_later
from remit.db.params import Params
from remit.errors import AgentTrouble, Forbidden, NotRegistered
from remit.rpc.call import (
    CallContext,
    call_agent,
    fail_task,
    judge_task,
    probe_task,
    require_address,
    require_type,
)
from remit.rpc.envelope import CreateTaskParams
from remit.tasks.service import (
    TASK,
    TERMINAL,
    Task,
    change_status,
    find_repeated,
    insert_task_sql,
    publish_task,
    read_task,
    reuse_task,
)


async def create_task(context: CallContext, params: CreateTaskParams) -> Task:
    """`task/create`: get or create the task, then tell an async agent. A sync agent is not called."""
    task, agent = await get_or_create_task(
        context, name=params.name, params=params.params, task_metadata=params.task_metadata
    )
    if agent["acp_type"] == "sync" or (task.status in TERMINAL and task.status != "FAILED"):
        return task
    try:
        await call_agent(context, "task/create", task, agent, params=task.params)
    except AgentTrouble as error:
        await fail_task(context, task.id, error.message)
        raise
    if task.status == "FAILED":
        async with context.caller.database.connection() as connection:
            resumed = await change_status(connection, task.id, "RUNNING", "Task resumed", only_from=("FAILED",))
        if resumed is not None:
            publish_task(context.hub, resumed)
            return resumed
    return task


async def get_or_create_task(
    context: CallContext,
    *,
    name: str | None,
    params: dict[str, Any] | None,
    task_metadata: dict[str, Any] | None = None,
    for_message: bool = False,
) -> tuple[Task, dict[str, Any]]:
    """The task of a name, made if there is none; with no name a new one. Nothing is sent to the agent.

    Args:
        context: of the call.
        name: the task's.
        params: for the agent.
        task_metadata: for whoever makes it.
        for_message: make one only of an agent that takes messages.

    Returns:
        The task and its agent's row.

    Raises:
        NotFound: the name is another's, unseen; or the agent is absent for this caller.
        Forbidden: the task may be read but not updated, or one may not create.
        BadRequest: the agent takes no task, or no message.
    """
    caller = context.caller
    while True:
        if name is not None:
            verdict = await probe_task(context, "update", name=name)
            if verdict.row is not None:
                # `update` on it decides, never the right to create.
                found = judge_task(context, "update", verdict, label_of(name=name))
                row = await reuse_task(caller, context.hub, found, name, params)
                if context.settings.authz_on_register_failure == "error":
                    await _register_elsewhere(context, row["id"])
                return read_task(row), row["agent"]
        elif context.repeated and (earlier := await _find_earlier(context)) is not None:
            return earlier
        made = await make_task(context, name=name, params=params, task_metadata=task_metadata, for_message=for_message)
        if made is not None:
            return made
        # Another call took the name between the two statements: it is looked at like any existing task.


async def make_task(
    context: CallContext,
    *,
    name: str | None,
    params: dict[str, Any] | None,
    task_metadata: dict[str, Any] | None = None,
    for_message: bool = False,
) -> tuple[Task, dict[str, Any]] | None:
    """A new task and its agent's row, None where its name is taken. The arguments are those of `get_or_create_task`.

    Raises:
        NotFound, Forbidden, BadRequest: as `get_or_create_task`.
    """
    inserted, agent = await _authorize_and_insert(context, name, params, task_metadata, for_message)
    if inserted is None:
        return None
    context.caller.questions.add((TASK.type, "read", inserted["id"]))
    await _register_elsewhere(context, inserted["id"])
    return read_task(inserted), agent


# What an agent must be like for a task of it to be made; `_require_taker` says the same, and what is wrong.
_TAKES_TASKS = "(agent ->> 'acp_type' = 'sync' OR agent ->> 'acp_url' <> '')"
_TAKES_MESSAGES = "agent ->> 'acp_type' = 'sync' AND agent ->> 'acp_url' <> ''"


def _require_taker(agent: Mapping[str, Any], for_message: bool) -> None:
    if for_message:
        require_type(agent, "message/send", "sync")
    elif agent["acp_type"] != "sync":
        require_address(agent)


async def _authorize_and_insert(
    context: CallContext,
    name: str | None,
    params: dict[str, Any] | None,
    task_metadata: dict[str, Any] | None,
    for_message: bool,
) -> tuple[asyncpg.Record | None, dict[str, Any]]:
    """The new task's row, None where its name is taken, and its agent's: one statement, if the answer is in it.

    It takes `execute` on the agent in the path and `create_task` on the tenant.

    Raises:
        NotFound, Forbidden, BadRequest: as `get_or_create_task`; no task was made.
    """
    caller, sql = context.caller, Params()
    question = Question(
        caller,
        sql,
        AGENT,
        "execute",
        id=context.agent_id,
        name=context.agent_name,
        columns="to_jsonb(t) AS agent",
        tenant_permission="create_task",
    )
    insert = partial(
        insert_task_sql,
        engine=caller.engine,
        tenant_id=caller.principal.tenant_id,
        creator=caller.subject,
        name=name,
        params=params,
        task_metadata=task_metadata,
        request_hash=context.request_hash if name is None else None,
    )
    statement = question.statement
    if question.is_here:
        fits = _TAKES_MESSAGES if for_message else _TAKES_TASKS
        source = f"FROM asked WHERE guard_allowed AND guard_tenant AND {fits}"
        statement = question.before(insert(sql, agent_id=None, source=source))
    verdict = await question.ask(statement)
    found = judge(caller, AGENT, "execute", verdict, label_of(id=context.agent_id, name=context.agent_name))
    if not verdict.tenant_allowed:
        raise deny_tenant(caller, "create_task")
    agent: dict[str, Any] = found["agent"]
    _require_taker(agent, for_message)
    if question.is_here:
        return (found if found["id"] is not None else None), agent
    sql = Params()
    queries = insert(sql, agent_id=agent["id"])
    async with caller.database.connection() as connection:
        return await connection.fetchrow(f"WITH {queries} SELECT * FROM written", *sql.values), agent


async def _register_elsewhere(context: CallContext, task_id: str) -> None:
    """Tell an engine elsewhere of a task, if there is one and it does not know yet.

    Raises:
        NotRegistered: it could not be told, and the settings say that this is an error.
        Forbidden: it refuses the task.
    """
    caller = context.caller
    if caller.delivery is None:
        return
    result = await caller.tell(Resource(TASK.type, task_id))
    if result.outcome is Outcome.REFUSED:
        raise Forbidden(
            "The authorization engine refuses to register the task, which is kept. An operator sees why.",
            data={"task_id": task_id},
        )
    if result.outcome is Outcome.PENDING and context.settings.authz_on_register_failure == "error":
        async with caller.database.connection() as connection:
            waits = await forward_later(connection, Resource(TASK.type, task_id))
        if waits:
            raise NotRegistered(task_id)


async def _find_earlier(context: CallContext) -> tuple[Task, dict[str, Any]] | None:
    # The client lost the answer, not the task that the first request made.
    async with context.caller.database.connection() as connection:
        id = await find_repeated(connection, context.caller.principal, context.request_hash)
    if id is None:
        return None
    verdict = await probe_task(context, "update", id=id)
    if verdict.row is None:
        return None
    row = judge_task(context, "update", verdict, label_of(id=id))
    return read_task(row), row["agent"]
