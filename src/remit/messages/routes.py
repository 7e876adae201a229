"""`/messages`: what SDK agents and clients write and read of a task."""

from datetime import timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field, model_validator

from remit.authz.caller import CurrentCaller
from remit.authz.route import GuardedRoute, requires
from remit.content import TaskMessageContent
from remit.messages.batches import MOST_MESSAGES, create_messages, update_messages
from remit.messages.filters import MessageFilters, read_filters
from remit.messages.pages import Direction, PaginatedMessagesResponse, list_page
from remit.messages.service import (
    StreamingStatus,
    TaskMessage,
    create_message,
    get_message,
    list_messages,
    update_message,
)
from remit.paging import DEFAULT_LIMIT, MOST_ROWS, Id, Page, read_page_either_way
from remit.streams.hub import StreamHub, get_hub
from remit.validation import Moment
from remit.wire import answer_rows

router = APIRouter(prefix="/messages", tags=["messages"], route_class=GuardedRoute)

Hub = Annotated[StreamHub, Depends(get_hub)]
Filters = Annotated[MessageFilters, Depends(read_filters)]


class CreateTaskMessageRequest(BaseModel):
    """A message to store. `created_at` is the writer's clock: workflows rely on it."""

    task_id: Id
    content: TaskMessageContent
    streaming_status: StreamingStatus | None = None
    created_at: Moment | None = None


class UpdateTaskMessageRequest(BaseModel):
    """A message's new content; `task_id` must be its own task."""

    task_id: Id
    content: TaskMessageContent
    streaming_status: StreamingStatus | None = None


class BatchCreateTaskMessagesRequest(BaseModel):
    """Messages to store, a millisecond apart from `created_at` on."""

    task_id: Id
    contents: Annotated[list[TaskMessageContent], Field(max_length=MOST_MESSAGES)]
    created_at: Moment | None = None

    @model_validator(mode="after")
    def check_moments(self) -> Self:
        """Raise ValueError if the last message would be of the year 10000."""
        if self.created_at is not None:
            try:
                self.created_at + timedelta(milliseconds=len(self.contents))
            except OverflowError:
                raise ValueError("must end before the year 10000") from None
        return self


class BatchUpdateTaskMessagesRequest(BaseModel):
    """New contents of messages of a task, by the messages' ids."""

    task_id: Id
    updates: Annotated[dict[Id, TaskMessageContent], Field(max_length=MOST_MESSAGES)]


@router.post("", openapi_extra=requires("task", "update"))
async def post_message(caller: CurrentCaller, hub: Hub, body: CreateTaskMessageRequest) -> TaskMessage:
    """Store a message."""
    return await create_message(
        caller,
        hub,
        body.task_id,
        body.content,
        streaming_status=body.streaming_status,
        created_at=body.created_at,
    )


@router.post("/batch", openapi_extra=requires("task", "update"), response_model=list[TaskMessage])
async def post_messages(caller: CurrentCaller, hub: Hub, body: BatchCreateTaskMessagesRequest) -> Response:
    """Store messages, all or none."""
    return answer_rows(await create_messages(caller, hub, body.task_id, body.contents, created_at=body.created_at))


@router.put("/batch", openapi_extra=requires("task", "update"))
async def put_messages(caller: CurrentCaller, hub: Hub, body: BatchUpdateTaskMessagesRequest) -> list[TaskMessage]:
    """Replace the contents of messages, all or none. Those of other tasks that the caller may read are left alone."""
    return await update_messages(caller, hub, body.task_id, body.updates)


@router.put("/{message_id}", openapi_extra=requires("task", "update"))
async def put_message(caller: CurrentCaller, hub: Hub, message_id: Id, body: UpdateTaskMessageRequest) -> TaskMessage:
    """Replace a message's content."""
    return await update_message(
        caller, hub, body.task_id, message_id, body.content, streaming_status=body.streaming_status
    )


@router.get("", openapi_extra=requires("task", "read"))
async def get_messages(
    caller: CurrentCaller, task_id: Id, page: Annotated[Page, Depends(read_page_either_way)], filters: Filters
) -> list[TaskMessage]:
    """The messages of a task, newest first; with `order_direction=asc` oldest first."""
    return await list_messages(caller, task_id, page, filters)


@router.get("/paginated", openapi_extra=requires("task", "read"))
async def get_messages_paginated(
    caller: CurrentCaller,
    task_id: Id,
    filters: Filters,
    limit: Annotated[int, Query(ge=0, le=MOST_ROWS, description="Most messages; 0 means the default.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(description="`next_cursor` of a page; a bad one is as none.")] = None,
    direction: Direction = "older",
) -> PaginatedMessagesResponse:
    """A page of a task's messages next to a cursor, newest first."""
    return await list_page(
        caller, task_id, limit=limit or DEFAULT_LIMIT, cursor=cursor, direction=direction, filters=filters
    )


@router.get("/{message_id}", openapi_extra=requires("task", "read"))
async def get_message_by_id(caller: CurrentCaller, message_id: Id) -> TaskMessage:
    """A message."""
    return await get_message(caller, message_id)
