"""Messages of a task: stored, changed, listed. They are no resources; who may is decided on their task."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import asyncpg
from pydantic import BaseModel, TypeAdapter

from remit.authz.caller import Caller
from remit.authz.guard import Question, absent, authorize, judge, label_of
from remit.content import TaskMessageContent
from remit.db.params import Params
from remit.db.pool import Connection
from remit.identity.principal import Principal
from remit.ids import new_id
from remit.messages.filters import MessageFilters, filter_sql
from remit.paging import Page
from remit.streams.hub import StreamHub
from remit.tasks.service import TASK, authorize_child
from remit.tasks.turns import Turn, take_sql

StreamingStatus = Literal["IN_PROGRESS", "DONE"]
UpdateType = Literal["start", "full", "done"]

WRITTEN = "id, task_id, streaming_status, interrupted, created_at, updated_at"
COLUMNS = f"{WRITTEN}, content"

content_adapter: TypeAdapter[TaskMessageContent] = TypeAdapter(TaskMessageContent)


class TaskMessage(BaseModel):
    """A message as the wire shows it. `interrupted`: the agent's answer broke off here."""

    id: str
    task_id: str
    content: TaskMessageContent
    streaming_status: StreamingStatus | None = None
    interrupted: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None


_messages = TypeAdapter(list[TaskMessage])


def read_message(row: asyncpg.Record) -> TaskMessage:
    """The wire shape of a row selected with `COLUMNS`."""
    return TaskMessage.model_validate(dict(row))


def written_message(row: asyncpg.Record, content: TaskMessageContent) -> TaskMessage:
    """As `read_message`, of a row selected with `WRITTEN`, whose content has just been written."""
    return TaskMessage.model_validate({**row, "content": content})


def _insert_sql(when: str, values: Sequence[str] = ("$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8")) -> str:
    id, task, content, status, interrupted, subject, agent, at = values
    return f"""
INSERT INTO messages (id, tenant_id, task_id, content, streaming_status, interrupted, author_subject_id,
                      author_agent_id, created_at, updated_at)
SELECT {id}, t.tenant_id, t.id, {content}, {status}, {interrupted}, {subject}, {agent},
       coalesce({at}, clock_timestamp()), coalesce({at}, clock_timestamp())
  FROM tasks t WHERE t.id = {task} AND t.status <> 'DELETED' AND {when}
ON CONFLICT (id) DO UPDATE SET content = excluded.content, streaming_status = excluded.streaming_status,
  interrupted = excluded.interrupted, updated_at = excluded.updated_at
RETURNING {WRITTEN}"""


_INSERT = _insert_sql("TRUE")
_INSERT_IN_TURN = f"""
WITH turn AS ({take_sql("$2", "$9", "$10")}
), stored AS ({_insert_sql("EXISTS (SELECT FROM turn)")}
)
SELECT EXISTS (SELECT FROM turn) AS taken, stored.* FROM (SELECT) one LEFT JOIN stored ON TRUE
"""


def authors_of(author: Principal) -> tuple[str | None, str | None]:
    """The values of `author_subject_id` and `author_agent_id` for what a principal writes."""
    return (None, author.id) if author.kind == "agent" else (author.id, None)


async def insert_message_in_turn(
    connection: Connection, turn: Turn, content: TaskMessageContent, author: Principal
) -> TaskMessage | None:
    """Take a turn and store a message in it, by one statement; None, and nothing is done, if another has the turn.

    Args:
        connection: with or without a transaction.
        turn: of the message's task, which the caller of this function has authorized.
        content: what it says.
        author: the principal that wrote it.

    Raises:
        NotFound: the task has been deleted meanwhile; the turn is taken all the same.
    """
    stored = content.model_dump(mode="json")
    values = (new_id(), turn.task_id, stored, "DONE", False, *authors_of(author), None)
    row = await connection.fetchrow(_INSERT_IN_TURN, *values, turn.holder, turn.lease)
    if row is None or not row["taken"]:
        return None
    if row["id"] is None:
        raise absent(f"id '{turn.task_id}'")
    return written_message(row, content)


async def insert_message(
    connection: Connection,
    task_id: str,
    content: TaskMessageContent,
    *,
    id: str | None = None,
    author: Principal | None,
    agent_id: str | None = None,
    streaming_status: StreamingStatus | None = "DONE",
    interrupted: bool = False,
    created_at: datetime | None = None,
) -> TaskMessage:
    """Store a message.

    Args:
        connection: with or without a transaction.
        task_id: the task; authorized by the caller of this function.
        content: what it says.
        id: an id of the server's own, for a message that may have been stored already; it is replaced then.
        author: the principal that wrote it, recorded whatever `content.author` claims.
        agent_id: the agent that it was received from, when no principal wrote it.
        streaming_status: whether more will come.
        interrupted: the answer broke off.
        created_at: the writer's clock, the server's when None.

    Raises:
        NotFound: the task has been deleted meanwhile.
    """
    subject, agent = authors_of(author) if author is not None else (None, agent_id)
    row = await connection.fetchrow(
        _INSERT,
        id or new_id(),
        task_id,
        content.model_dump(mode="json"),
        streaming_status,
        interrupted,
        subject,
        agent,
        created_at,
    )
    if row is None:
        raise absent(f"id '{task_id}'")
    return written_message(row, content)


_UPDATE = f"""
UPDATE messages SET content = $3, streaming_status = coalesce($4, streaming_status), interrupted = $5,
  updated_at = clock_timestamp()
WHERE id = $1 AND task_id = $2 RETURNING {COLUMNS}
"""


async def change_message(
    connection: Connection,
    task_id: str,
    message_id: str,
    content: TaskMessageContent,
    *,
    streaming_status: StreamingStatus | None,
    interrupted: bool = False,
) -> TaskMessage:
    """Replace a message's content.

    Raises:
        NotFound: the task has no such message.
    """
    row = await connection.fetchrow(
        _UPDATE, message_id, task_id, content.model_dump(mode="json"), streaming_status, interrupted
    )
    if row is None:
        raise absent(f"id '{message_id}'")
    return read_message(row)


async def create_message(
    caller: Caller,
    hub: StreamHub,
    task_id: str,
    content: TaskMessageContent,
    *,
    streaming_status: StreamingStatus | None,
    created_at: datetime | None,
) -> TaskMessage:
    """A message that a caller writes on a task, shown to the task's readers: as a start while more will come."""
    message = await _authorize_and_insert(caller, task_id, content, streaming_status, created_at)
    told_by_agent = caller.principal.kind == "agent"
    types: Sequence[UpdateType] = ("start",) if streaming_status == "IN_PROGRESS" else ("full",)
    publish_message(hub, message, types, told_by_agent=told_by_agent)
    return message


async def _authorize_and_insert(
    caller: Caller,
    task_id: str,
    content: TaskMessageContent,
    streaming_status: StreamingStatus | None,
    created_at: datetime | None,
) -> TaskMessage:
    params = Params()
    question = Question(caller, params, TASK, "update", id=task_id, columns="NULL AS nothing")
    if not question.is_here:
        judge(caller, TASK, "update", await question.ask(), label_of(id=task_id))
        async with caller.database.connection() as connection:
            return await insert_message(
                connection,
                task_id,
                content,
                author=caller.principal,
                streaming_status=streaming_status,
                created_at=created_at,
            )
    subject, agent = authors_of(caller.principal)
    values = (
        params.add(new_id(), "uuid"),
        params.add(task_id, "uuid"),
        params.add(content.model_dump(mode="json"), "jsonb"),
        params.add(streaming_status, "text"),
        "FALSE",
        params.add(subject, "uuid"),
        params.add(agent, "uuid"),
        params.add(created_at, "timestamptz"),
    )
    when = "EXISTS (SELECT FROM asked WHERE guard_allowed)"
    statement = question.before(f"written AS ({_insert_sql(when, values)})")
    row = judge(caller, TASK, "update", await question.ask(statement), label_of(id=task_id))
    if row["id"] is None:
        raise absent(label_of(id=task_id))
    return written_message(row, content)


async def update_message(
    caller: Caller,
    hub: StreamHub,
    task_id: str,
    message_id: str,
    content: TaskMessageContent,
    *,
    streaming_status: StreamingStatus | None,
) -> TaskMessage:
    """A message that a caller changes; its task must be the one named."""
    await authorize(caller, TASK, "update", id=task_id, columns="t.id")
    async with caller.database.connection() as connection:
        message = await change_message(connection, task_id, message_id, content, streaming_status=streaming_status)
    told_by_agent = caller.principal.kind == "agent"
    types: Sequence[UpdateType] = ("full", "done") if streaming_status == "DONE" else ("full",)
    publish_message(hub, message, types, told_by_agent=told_by_agent)
    return message


def publish_message(
    hub: StreamHub, message: TaskMessage, types: Sequence[UpdateType], *, told_by_agent: bool = False
) -> None:
    """Tell the task's readers of a message, in the updates that an agent's own stream would have.

    Args:
        hub: where they read.
        message: as it is now.
        types: the updates.
        told_by_agent: it was written by an agent, which tells Redis of it itself.
    """
    publish_messages(hub, [message], types, told_by_agent=told_by_agent)


def publish_messages(
    hub: StreamHub, messages: list[TaskMessage], types: Sequence[UpdateType], *, told_by_agent: bool
) -> None:
    """As `publish_message`, for several."""
    publish_shown(hub, _messages.dump_python(messages, mode="json"), types, told_by_agent=told_by_agent)


def publish_shown(
    hub: StreamHub, messages: list[dict[str, Any]], types: Sequence[UpdateType], *, told_by_agent: bool
) -> None:
    """As `publish_messages`, of messages as the wire shows them."""
    for message in messages:
        for type in types:
            update = {"type": type, "index": None, "parent_task_message": message}
            if type != "done":
                update["content"] = message["content"]
            hub.publish(message["task_id"], update, told_by_agent=told_by_agent)


async def get_message(caller: Caller, message_id: str) -> TaskMessage:
    """A message, for whoever may read its task.

    Raises:
        NotFound: absent, or its task is for this caller; by the same statements.
    """
    async with caller.database.connection() as connection:
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM messages WHERE id = $1", message_id)
    await authorize_child(caller, "read", row["task_id"] if row else None, message_id)
    assert row is not None, "an absent child has no task that could be read"
    return read_message(row)


_LIST = {
    direction: f"""
SELECT {COLUMNS} FROM messages WHERE task_id = $1 AND {filter_sql("$4", "$5")}
 ORDER BY created_at {direction}, id LIMIT $2 OFFSET $3
"""
    for direction in ("ASC", "DESC")
}


async def list_messages(caller: Caller, task_id: str, page: Page, filters: MessageFilters) -> list[TaskMessage]:
    """The messages of a task, by their time; messages of one moment in the order they were written."""
    await authorize(caller, TASK, "read", id=task_id, columns="t.id")
    statement = _LIST["ASC" if page.ascending else "DESC"]
    async with caller.database.connection() as connection:
        rows = await connection.fetch(statement, task_id, page.limit, page.skip, filters.include, filters.exclude)
    return [read_message(row) for row in rows]
