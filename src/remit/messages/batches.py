"""Many messages of a task in one request: one statement, all of them or none."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import TypeAdapter

from remit.authz.caller import Caller
from remit.authz.decide import Ask
from remit.authz.errors import translate_database_errors
from remit.authz.guard import absent, authorize, label_of
from remit.content import TaskMessageContent
from remit.db.params import Params
from remit.ids import new_id
from remit.messages.service import (
    COLUMNS,
    WRITTEN,
    TaskMessage,
    authors_of,
    publish_messages,
    read_message,
    written_message,
)
from remit.streams.hub import StreamHub
from remit.tasks.service import TASK

MOST_MESSAGES = 1000

_contents = TypeAdapter(list[TaskMessageContent])

_INSERT = f"""
INSERT INTO messages (id, tenant_id, task_id, content, author_subject_id, author_agent_id, created_at, updated_at)
SELECT item.id, t.tenant_id, t.id, item.content, $4, $5, moment.at, moment.at
  FROM tasks t,
       ROWS FROM (unnest($2::uuid[]), jsonb_array_elements($3::jsonb)) WITH ORDINALITY AS item (id, content, n),
       LATERAL (SELECT coalesce($6, statement_timestamp()) + (item.n - 1) * interval '1 millisecond' AS at) moment
 WHERE t.id = $1 AND t.status <> 'DELETED'
RETURNING {WRITTEN}
"""


async def create_messages(
    caller: Caller,
    hub: StreamHub,
    task_id: str,
    contents: Sequence[TaskMessageContent],
    *,
    created_at: datetime | None,
) -> list[TaskMessage]:
    """Store messages, a millisecond apart so that their order is kept, and show them to the task's readers.

    Args:
        caller: who writes them; recorded whatever the contents claim.
        hub: tells the readers.
        task_id: the task.
        contents: what they say, in order.
        created_at: the moment of the first one, the server's own when None.

    Raises:
        NotFound, Forbidden: as `update` on the task decides.
    """
    await authorize(caller, TASK, "update", id=task_id, columns="t.id")
    if not contents:
        return []
    ids = [new_id() for _ in contents]
    is_agent = caller.principal.kind == "agent"
    author_subject_id, author_agent_id = authors_of(caller.principal)
    async with caller.database.connection() as connection:
        rows = await connection.fetch(
            _INSERT,
            task_id,
            ids,
            _contents.dump_python(list(contents), mode="json"),
            author_subject_id,
            author_agent_id,
            created_at,
        )
    if not rows:
        raise absent(label_of(id=task_id))
    stored = {row["id"]: row for row in rows}
    messages = [written_message(stored[id], content) for id, content in zip(ids, contents, strict=True)]
    publish_messages(hub, messages, ("full",), told_by_agent=is_agent)
    return messages


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
