"""`message/send`: the message is stored, the agent asked, its answer folded, stored and passed on as it comes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson

from remit.authz.guard import label_of
from remit.content import TaskMessageUpdate
from remit.db.pool import UNREACHABLE
from remit.errors import AgentTrouble, BadRequest, RemitError, TaskBusy, Unavailable
from remit.ids import new_id
from remit.messages.service import TaskMessage, insert_message, insert_message_in_turn, publish_message
from remit.rpc.answers import AgentError
from remit.rpc.call import (
    CallContext,
    agent_params,
    fail_task,
    find_task,
    judge_task,
    probe_task,
    require_type,
)
from remit.rpc.create import get_or_create_task, make_task
from remit.rpc.envelope import RpcId, SendMessageParams, TaskRef, failure, success
from remit.rpc.fold import CreateMessage, Fold, FoldError, ForwardUpdate, Step, StoreMessage
from remit.tasks.service import Task, change_status, publish_task, read_task
from remit.tasks.turns import Turn
from remit.telemetry.metrics import AGENT_CALLS


async def begin_turn(context: CallContext, params: SendMessageParams) -> "SendTurn":
    """Everything up to the call of the agent: authorize, make the task if need be, take the turn, store the message.

    Raises:
        NotFound, Forbidden: as the permission decides.
        BadRequest: the agent takes no messages, or the task has ended.
        TaskBusy: another message is being answered for too long.
    """
    task, agent = await _find_or_create(context, params)
    require_type(agent, "message/send", "sync")
    _require_open(task)
    database, author = context.caller.database, context.caller.principal
    turn = Turn(database, task.id, context.settings.turn_lease)
    resumed, message = None, None
    try:
        if runs := task.status == "RUNNING":
            async with database.connection() as connection:
                message = await insert_message_in_turn(connection, turn, params.content, author)
        if message is None:
            # Whoever had the turn a moment ago may have changed the task as well.
            if await turn.take(context.settings.turn_wait) or runs:
                task = read_task(await find_task(context, TaskRef(task_id=task.id), "update"))
                _require_open(task)
            async with database.transaction() as connection:
                message = await insert_message(connection, task.id, params.content, author=author)
                if task.status != "RUNNING":
                    resumed = await change_status(
                        connection, task.id, "RUNNING", "Task resumed", only_from=("INTERRUPTED", "FAILED")
                    )
    except TaskBusy:
        raise
    except BaseException:
        # Also when the client went away while the turn was being taken: it may have been.
        context.background.spawn(turn.release())
        raise
    publish_message(context.hub, message, ("full",))
    if resumed is not None:
        publish_task(context.hub, resumed)
    return SendTurn(context, resumed or task, agent, turn, params)


def _require_open(task: Task) -> None:
    if task.status not in ("RUNNING", "INTERRUPTED", "FAILED"):
        raise BadRequest(f"The task has ended ({task.status}). Send the message without it, or to another one.")


async def _find_or_create(context: CallContext, params: SendMessageParams) -> tuple[Task, Mapping[str, Any]]:
    id, name = params.task_id, params.task_name
    if id is None and name is None:
        return await get_or_create_task(context, name=None, params=params.task_params, for_message=True)
    while True:
        verdict = await probe_task(context, "update", id=id, name=name)
        if id is not None or verdict.row is not None:
            row = judge_task(context, "update", verdict, label_of(id=id, name=name))
            return read_task(row), row["agent"]
        made = await make_task(context, name=name, params=params.task_params, for_message=True)
        if made is not None:
            return made
        # Another call took the name between the two statements: its task is there now.


class SendTurn:
    """One message and its answer, from the call of the agent on."""

    def __init__(
        self, context: CallContext, task: Task, agent: Mapping[str, Any], turn: Turn, params: SendMessageParams
    ) -> None:
        self._context = context
        self._task = task
        self._agent = agent
        self._turn = turn
        self._params = params
        self._fold = Fold()
        self._stored: dict[int | None, TaskMessage] = {}
        self._shown: dict[int | None, dict[str, Any]] = {}
        self._ids: dict[int | None, str] = {}
        self._begun = False

    def _updates(self) -> AsyncGenerator[TaskMessageUpdate, None]:
        return self._context.agents.stream(
            self._agent["acp_url"],
            # The agent is always asked to stream: its answer is folded here whatever the client wants.
            {
                **agent_params(self._task, self._agent),
                "content": self._params.content.model_dump(mode="json"),
                "stream": True,
            },
            request_id=self._context.caller.request_id,
            headers=self._context.headers,
        )

    async def answer(self) -> list[TaskMessage]:
        """The agent's messages, once all have come; stored together.

        Raises:
            AgentTrouble: the agent failed; what had come is stored and marked.
        """
        try:
            async with self._turn.held(), aclosing(self._updates()) as updates:
                async for update in updates:
                    self._fold.feed(update)
                self._fold.close()
            messages = await self._store_all()
        except (AgentError, FoldError) as error:
            AGENT_CALLS.labels("message/send", type(error).__name__).inc()
            await self._settle(self._store_all)
            raise AgentTrouble(str(error)) from error
        except (Unavailable, *UNREACHABLE) as error:
            self._context.background.spawn(self._abandon(self._store_all))
            lost = Unavailable("The database cannot be reached: the agent's answer was not stored.")
            lost.retry = False  # the agent has been asked, so the same request would be a second message
            raise lost from error
        except BaseException:
            self._context.background.spawn(self._abandon(self._store_all))
            raise
        AGENT_CALLS.labels("message/send", "ok").inc()
        await self._turn.release()
        return messages

    async def _store_all(self) -> list[TaskMessage]:
        """Store every message that came, in order; one that is not complete is marked."""
        async with self._context.caller.database.transaction() as connection:
            messages = [
                await insert_message(
                    connection,
                    self._task.id,
                    folded.content,
                    id=self._id_of(folded.index),
                    author=None,
                    agent_id=self._agent["id"],
                    interrupted=not folded.complete,
                )
                for folded in self._fold.messages()
            ]
        for message in messages:
            publish_message(self._context.hub, message, ("full",))
        return messages

    async def stream(self, id: RpcId) -> AsyncGenerator[bytes, None]:
        """The answer as NDJSON: a JSON-RPC response a line for each update, the last one with the error if one came."""
        self._begun = True
        try:
            async with self._turn.held(), aclosing(self._updates()) as updates:
                async for update in updates:
                    for step in self._fold.feed(update):
                        if (shown := await self._take(step)) is not None:
                            yield _line(success(id, shown))
                for step in self._fold.close():
                    await self._take(step)
        except (AgentError, FoldError) as error:
            AGENT_CALLS.labels("message/send", type(error).__name__).inc()
            trouble = AgentTrouble(str(error))
            await self._settle(
                self._mark_interrupted, partial(fail_task, self._context, self._task.id, trouble.message)
            )
            yield _line(failure(id, trouble))
            return
        except (RemitError, *UNREACHABLE) as error:
            self._context.background.spawn(self._abandon(self._mark_interrupted))
            shown_error = error if isinstance(error, RemitError) else Unavailable("The database cannot be reached.")
            yield _line(failure(id, shown_error))
            return
        except BaseException:
            self._context.background.spawn(self._abandon(self._mark_interrupted))
            raise
        AGENT_CALLS.labels("message/send", "ok").inc()
        await self._turn.release()

    def give_up(self) -> None:
        """Give the turn back if `stream` was never read from: its client went away before the first line."""
        if not self._begun:
            self._context.background.spawn(self._abandon(self._mark_interrupted))

    async def _take(self, step: Step) -> dict[str, Any] | None:
        if isinstance(step, ForwardUpdate):
            update = step.update.model_dump(mode="json", exclude={"parent_task_message"})
            shown = {**update, "parent_task_message": self._shown[step.update.index]}
            self._context.hub.publish(self._task.id, shown)
            return shown
        await self._store(step)
        return None

    async def _store(self, step: CreateMessage | StoreMessage) -> None:
        done = isinstance(step, StoreMessage) or step.done
        async with self._context.caller.database.connection() as connection:
            stored = await insert_message(
                connection,
                self._task.id,
                step.content,
                id=self._id_of(step.index),
                author=None,
                agent_id=self._agent["id"],
                streaming_status="DONE" if done else "IN_PROGRESS",
            )
        self._stored[step.index], self._shown[step.index] = stored, stored.model_dump(mode="json")

    def _id_of(self, index: int | None) -> str:
        # Known before the row is written: a store that was cut off is repeated under the same id, not doubled.
        return self._ids.setdefault(index, new_id())

    async def _mark_interrupted(self) -> None:
        """Store what came and is not stored yet, and mark the messages that broke off."""
        for folded in self._fold.messages():
            stored = self._stored.get(folded.index)
            if stored is not None and stored.streaming_status == "DONE":
                continue
            async with self._context.caller.database.connection() as connection:
                message = await insert_message(
                    connection,
                    self._task.id,
                    folded.content,
                    id=self._id_of(folded.index),
                    author=None,
                    agent_id=self._agent["id"],
                    interrupted=not folded.complete,
                )
            publish_message(self._context.hub, message, ("full", "done"))

    async def _settle(self, *steps: Callable[[], Awaitable[Any]]) -> None:
        """Store what an agent left that failed, and give the turn back: in the background, and waited for.

        What fails here is logged there: it must not replace what the caller is told, nor keep the turn.
        """

        async def settle() -> None:
            try:
                for step in steps:
                    await step()
            finally:
                await self._turn.release()

        work = self._context.background.spawn(settle())
        await asyncio.wait({work})

    async def _abandon(self, store: Any) -> None:
        """The client went away, or the database did: keep what came, and let the next one have the turn."""
        AGENT_CALLS.labels("message/send", "abandoned").inc()
        try:
            await store()
        finally:
            await self._turn.release()


def _line(response: dict[str, Any]) -> bytes:
    return orjson.dumps(response) + b"\n"
