"""`task/create`, and the task of a `message/send` that names none: got, or made by the statement that allows it."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    require_type,
)
from remit.rpc.envelope import CreateTaskParams
from remit.tasks.service import (
    TASK,
    TERMINAL,
    Task,
    change_status,
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
                return await _take(context, await reuse_task(caller, context.hub, found, name, params))
        made = await make_task(context, name=name, params=params, task_metadata=task_metadata, for_message=for_message)
        if made is not None:
            return made
        # Between two statements another call took the name, or deleted the task of the same request.


async def make_task(
    context: CallContext,
    *,
    name: str | None,
    params: dict[str, Any] | None,
    task_metadata: dict[str, Any] | None = None,
    for_message: bool = False,
) -> tuple[Task, dict[str, Any]] | None:
    """A new task and its agent's row, or what the same request made; None where its name is taken.

    The arguments are those of `get_or_create_task`.

    Raises:
        NotFound, Forbidden, BadRequest: as `get_or_create_task`.
    """
    if name is None:
        await context.origin.let_first_pass()
    written, agent = await _authorize_and_insert(context, name, params, task_metadata, for_message)
    if written["id"] is not None:
        context.caller.questions.add((TASK.type, "read", written["id"]))
        await _register_elsewhere(context, written["id"])
        return read_task(written), agent
    if (id := written["earlier_id"]) is None:
        return None
    # The client lost the answer, not the task that the other request made.
    verdict = await probe_task(context, "update", id=id)
    if verdict.row is None:
        return None
    return await _take(context, judge_task(context, "update", verdict, label_of(id=id)))


async def _take(context: CallContext, row: asyncpg.Record) -> tuple[Task, dict[str, Any]]:
    """An existing task whose caller may update it, and its agent's row."""
    if context.settings.authz_on_register_failure == "error":
        await _register_elsewhere(context, row["id"])
    return read_task(row), row["agent"]


@dataclass(frozen=True, slots=True)
class _Takers:
    """The agents of which a task is made: what the statement asks that makes one, and what is told if it made none.

    Attributes:
        method: the call.
        types: of the agents.
        unaddressed: those types whose agents are not called for it.
    """

    method: str
    types: tuple[str, ...]
    unaddressed: tuple[str, ...]

    @property
    def sql(self) -> str:
        """A condition on the column `agent`."""
        types, unaddressed = (f"'{{{','.join(types)}}}'" for types in (self.types, self.unaddressed))
        return (
            f"agent ->> 'acp_type' = ANY ({types})"
            f" AND (agent ->> 'acp_type' = ANY ({unaddressed}) OR agent ->> 'acp_url' <> '')"
        )

    def require(self, agent: Mapping[str, Any]) -> None:
        """Refuse any other agent.

        Raises:
            BadRequest: with the reason.
        """
        require_type(agent, self.method, *self.types, unaddressed=self.unaddressed)


_OF_TASKS = _Takers("task/create", ("sync", "async", "agentic"), ("sync",))
_OF_MESSAGES = _Takers("message/send", ("sync",), ())


async def _authorize_and_insert(
    context: CallContext,
    name: str | None,
    params: dict[str, Any] | None,
    task_metadata: dict[str, Any] | None,
    for_message: bool,
) -> tuple[asyncpg.Record, dict[str, Any]]:
    """The row `written` of `insert_task_sql`, and the agent's: one statement, if the answer is in it.

    It takes `execute` on the agent in the path and `create_task` on the tenant.

    Raises:
        NotFound, Forbidden, BadRequest: as `get_or_create_task`; no task was made.
    """
    caller, sql, takers = context.caller, Params(), _OF_MESSAGES if for_message else _OF_TASKS
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
        origin=context.origin if name is None else None,
    )
    statement = question.statement
    if question.is_here:
        source = f"FROM asked WHERE guard_allowed AND guard_tenant AND {takers.sql}"
        statement = question.before(insert(sql, agent_id=None, source=source))
    verdict = await question.ask(statement)
    found = judge(caller, AGENT, "execute", verdict, label_of(id=context.agent_id, name=context.agent_name))
    if not verdict.tenant_allowed:
        raise deny_tenant(caller, "create_task")
    agent: dict[str, Any] = found["agent"]
    takers.require(agent)
    if question.is_here:
        return found, agent
    sql = Params()
    queries = insert(sql, agent_id=agent["id"])
    async with caller.database.connection() as connection:
        written: asyncpg.Record = await connection.fetchrow(f"WITH {queries} SELECT * FROM written", *sql.values)
    return written, agent


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
