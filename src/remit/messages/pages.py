"""Pages of a task's messages by cursor, towards older or newer ones, for readers that scroll while messages arrive.

A cursor is a place in the list, not a row: URL-safe base64 of the moment and the id of the message that it stands on. A
page holds the messages next to the cursor, so that following one cursor after another meets every message.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg
import orjson
from pydantic import BaseModel

from remit.authz.caller import Caller
from remit.authz.guard import authorize
from remit.messages.filters import MessageFilters, filter_sql
from remit.messages.service import COLUMNS, TaskMessage, read_message
from remit.paging import is_id
from remit.tasks.service import TASK
from remit.validation import check_moment

Direction = Literal["older", "newer"]

_LONGEST_CURSOR = 300


class PaginatedMessagesResponse(BaseModel):
    """A page, newest first in both directions; `next_cursor` leads on in the direction that was asked for."""

    data: list[TaskMessage]
    next_cursor: str | None = None
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list of a task's messages: at `created_at`, on the message `id`."""

    created_at: datetime
    id: str


def write_cursor(row: asyncpg.Record) -> str:
    """The cursor that stands on a message."""
    place = {"v": 1, "id": row["id"], "created_at": row["created_at"].isoformat()}
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def read_cursor(cursor: str | None) -> Place | None:
    """The place of a cursor; None, the start of the list, for one that this server cannot have written."""
    if cursor is None or len(cursor) > _LONGEST_CURSOR:
        return None
    try:
        value = orjson.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        if value["v"] == 1 and is_id(value["id"]):
            moment = datetime.fromisoformat(value["created_at"])
            return Place(check_moment(moment), value["id"]) if moment.tzinfo else None
    except (binascii.Error, ValueError, TypeError, KeyError):
        pass
    return None


# The list runs from the newest moment to the oldest and, within one moment, in the order of ids. The first condition on
# the moment bounds the index scan, the second one is exact.
_BEYOND = {
    "older": "created_at <= $4 AND (created_at < $4 OR id > $5) ORDER BY created_at DESC, id",
    "newer": "created_at >= $4 AND (created_at > $4 OR id < $5) ORDER BY created_at, id DESC",
}
_START = "$4::timestamptz IS NULL AND $5::uuid IS NULL ORDER BY created_at DESC, id"


def _page_sql(beyond: str) -> str:
    return f"SELECT {COLUMNS} FROM messages WHERE task_id = $1 AND {filter_sql('$2', '$3')} AND {beyond} LIMIT $6"


_PAGES = {direction: _page_sql(beyond) for direction, beyond in _BEYOND.items()}
_FIRST_PAGE = _page_sql(_START)


async def list_page(
    caller: Caller, task_id: str, *, limit: int, cursor: str | None, direction: Direction, filters: MessageFilters
) -> PaginatedMessagesResponse:
    """A page of a task's messages.

    Args:
        caller: who asks; may read the task.
        task_id: the task.
        limit: most messages.
        cursor: where to go on; the page of the newest messages without one, or when it is not a good one.
        direction: which way to go on from the cursor.
        filters: which messages count.
    """
    await authorize(caller, TASK, "read", id=task_id, columns="t.id")
    place = read_cursor(cursor)
    async with caller.database.connection() as connection:
        rows = await connection.fetch(
            _PAGES[direction] if place else _FIRST_PAGE,
            task_id,
            filters.include,
            filters.exclude,
            place.created_at if place else None,
            place.id if place else None,
            limit + 1,
        )
    page = rows[:limit]
    # The newest page is the end of the list for whoever goes towards newer messages.
    has_more = len(rows) > limit and (place is not None or direction == "older")
    next_cursor = write_cursor(page[-1]) if has_more else None
    if place and direction == "newer":
        page.reverse()
    return PaginatedMessagesResponse(
        data=[read_message(row) for row in page], next_cursor=next_cursor, has_more=has_more
    )
