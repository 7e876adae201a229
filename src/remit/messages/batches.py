"""Many messages of a task in one request: one statement, all of them or none."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from remit.authz.caller import Caller
from remit.authz.decide import Ask
from remit.authz.errors import translate_database_errors
from remit.authz.guard import Question, absent, authorize, judge, label_of
from remit.content import TaskMessageContent
from remit.db.params import Params
from remit.identity.principal import Principal
from remit.ids import new_id
from remit.messages.service import (
    COLUMNS,
    TaskMessage,
    authors_of,
    publish_messages,
    publish_shown,
    read_message,
)
from remit.streams.hub import StreamHub
from remit.tasks.service import TASK

MOST_MESSAGES = 1000
MILLISECOND = timedelta(milliseconds=1)

_contents = TypeAdapter(list[TaskMessageContent])


def _insert_sql(
    params: Params,
    task_id: str,
    ids: Sequence[str],
    contents: list[Any],
    author: Principal,
    when: str,
    at: datetime | None,
) -> str:
    """WITH queries that store messages when a condition holds; `written` has how many, and the moment of the first."""
    task, subject, agent = params.add(task_id, "uuid"), *(params.add(id, "uuid") for id in authors_of(author))
    return f"""
stored AS (
  INSERT INTO messages (id, tenant_id, task_id, content, author_subject_id, author_agent_id, created_at, updated_at)
  SELECT item.id, t.tenant_id, t.id, item.content, {subject}, {agent}, moment.at, moment.at
    FROM tasks t,
         ROWS FROM (unnest({params.add(ids, "uuid[]")}), jsonb_array_elements({params.add(contents, "jsonb")}))
           WITH ORDINALITY AS item (id, content, n),
         LATERAL (SELECT coalesce({params.add(at, "timestamptz")}, statement_timestamp())
                       + (item.n - 1) * interval '1 millisecond' AS at) moment
   WHERE t.id = {task} AND t.status <> 'DELETED' AND {when}
  RETURNING created_at
), written AS (SELECT count(*) AS stored, min(created_at) AS first_at FROM stored)"""


async def create_messages(
    caller: Caller,
    hub: StreamHub,
    task_id: str,
    contents: Sequence[TaskMessageContent],
    *,
    created_at: datetime | None,
) -> list[dict[str, Any]]:
    """Store messages, a millisecond apart so that their order is kept, and show them to the task's readers.

    Args:
        caller: who writes them; recorded whatever the contents claim.
        hub: tells the readers.
        task_id: the task.
        contents: what they say, in order.
        created_at: the moment of the first one, the server's own when None.

    Returns:
        The messages as the wire shows them, but for their moments.

    Raises:
        NotFound, Forbidden: as `update` on the task decides.
    """
    if not contents:
        await authorize(caller, TASK, "update", id=task_id, columns="t.id")
        return []
    ids, said = [new_id() for _ in contents], _contents.dump_python(list(contents), mode="json")
    first_at = await _authorize_and_insert(caller, task_id, ids, said, created_at)
    messages = [
        _show(id, task_id, content, first_at + number * MILLISECOND)
        for number, (id, content) in enumerate(zip(ids, said, strict=True))
    ]
    publish_shown(hub, messages, ("full",), told_by_agent=caller.principal.kind == "agent")
    return messages


async def _authorize_and_insert(
    caller: Caller, task_id: str, ids: Sequence[str], contents: list[Any], at: datetime | None
) -> datetime:
    """The moment of the first message; one statement, as for a single message."""
    params, label = Params(), label_of(id=task_id)
    question = Question(caller, params, TASK, "update", id=task_id, columns="NULL AS nothing")
    row: Mapping[str, Any] | None
    if question.is_here:
        when = "EXISTS (SELECT FROM asked WHERE guard_allowed)"
        statement = question.before(_insert_sql(params, task_id, ids, contents, caller.principal, when, at))
        row = judge(caller, TASK, "update", await question.ask(statement), label)
    else:
        judge(caller, TASK, "update", await question.ask(), label)
        params = Params()
        queries = _insert_sql(params, task_id, ids, contents, caller.principal, "TRUE", at)
        async with caller.database.connection() as connection:
            row = await connection.fetchrow(f"WITH {queries} SELECT * FROM written", *params.values)
    if not row or not row["stored"]:
        raise absent(label)
    first: datetime = row["first_at"]
    return first


def _show(id: str, task_id: str, content: dict[str, Any], at: datetime) -> dict[str, Any]:
    """A message that has just been stored, as the wire shows it but for its moments."""
    return {
        "id": id,
        "task_id": task_id,
        "content": content,
        "streaming_status": None,
        "interrupted": False,
        "created_at": at,
        "updated_at": at,
    }


# Rows are locked in the order of their ids: of two requests for the same messages one waits for the other, and neither
# for ever.
_UPDATE = f"""
WITH mine AS MATERIALIZED (
  SELECT m.id FROM messages m WHERE m.id = ANY ($2::uuid[]) AND m.task_id = $1 ORDER BY m.id FOR UPDATE
), item AS MATERIALIZED (
  SELECT * FROM ROWS FROM (unnest($2::uuid[]), jsonb_array_elements($3::jsonb)) AS item (id, content)
), changed AS (
  UPDATE messages m SET content = item.content, interrupted = FALSE, updated_at = clock_timestamp()
    FROM mine JOIN item ON item.id = mine.id
   WHERE m.id = mine.id RETURNING m.*
) SELECT {COLUMNS} FROM changed
"""


async def update_messages(
    caller: Caller, hub: StreamHub, task_id: str, updates: Mapping[str, TaskMessageContent]
) -> list[TaskMessage]:
    """Replace the contents of messages of a task.

    Messages of other tasks are left alone when the caller may read those tasks; for him there are no others.

    Args:
        caller: who changes them.
        hub: tells the readers.
        task_id: the task.
        updates: new contents by the messages' ids.

    Returns:
        The messages that were changed, in the order given.

    Raises:
        NotFound, Forbidden: as `update` on the task decides.
        NotFound: there is no such message for the caller; nothing was changed.
    """
    await authorize(caller, TASK, "update", id=task_id, columns="t.id")
    if not updates:
        return []
    changed = await _replace(caller, task_id, updates, all_of_task=True)
    if changed is None:
        await _check_readable(caller, list(updates))
        changed = await _replace(caller, task_id, updates, all_of_task=False) or {}
    messages = [changed[id] for id in updates if id in changed]
    publish_messages(hub, messages, ("full",), told_by_agent=caller.principal.kind == "agent")
    return messages


async def _replace(
    caller: Caller, task_id: str, updates: Mapping[str, TaskMessageContent], *, all_of_task: bool
) -> dict[str, TaskMessage] | None:
    """The changed messages by id; None, and nothing is changed, when all have to be of the task and one is not."""
    contents = _contents.dump_python(list(updates.values()), mode="json")
    async with caller.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            rows = await connection.fetch(_UPDATE, task_id, list(updates), contents)
        except BaseException:
            await transaction.rollback()
            raise
        if all_of_task and len(rows) < len(updates):
            await transaction.rollback()
            return None
        await transaction.commit()
    return {row["id"]: read_message(row) for row in rows}


async def _check_readable(caller: Caller, ids: Sequence[str]) -> None:
    """Raise NotFound unless each of the messages belongs to a task that the caller may read."""
    params = Params()
    tenant = params.add(caller.principal.tenant_id, "uuid")
    of_messages = Ask(
        "read",
        TASK.type,
        "t.id",
        lambda asked: f"SELECT m.task_id FROM messages m WHERE m.id = ANY ({asked.add(list(ids), 'uuid[]')})",
    )
    (readable,) = await caller.conditions(params, of_messages)
    statement = f"""
        WITH message AS MATERIALIZED (
          SELECT m.id, m.task_id FROM messages m WHERE m.id = ANY ({params.add(list(ids), "uuid[]")})
        ), readable AS MATERIALIZED (
          SELECT t.id FROM tasks t
           WHERE t.id IN (SELECT task_id FROM message) AND t.tenant_id = {tenant} AND {TASK.alive} AND ({readable})
        ) SELECT m.id FROM message m JOIN readable r ON r.id = m.task_id"""
    with translate_database_errors():
        async with caller.database.connection() as connection:
            known = {row["id"] for row in await connection.fetch(statement, *params.values)}
    caller.note(TASK.type, "read", "listed")
    for id in ids:
        if id not in known:
            raise absent(label_of(id=id))
