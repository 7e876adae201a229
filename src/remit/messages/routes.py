"""`/messages`: what SDK agents and clients write and read of a task."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from remit.authz.guard import CurrentCaller
from remit.authz.route import GuardedRoute, requires
from remit.content import TaskMessageContent
from remit.messages.service import (
    StreamingStatus,
    TaskMessage,
    create_message,
    get_message,
    list_messages,
    update_message,
)
from remit.paging import Id, Page, read_page
from remit.streams.hub import StreamHub, get_hub
from remit.validation import Moment

router = APIRouter(prefix="/messages", tags=["messages"], route_class=GuardedRoute)

Hub = Annotated[StreamHub, Depends(get_hub)]


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


@router.put("/{message_id}", openapi_extra=requires("task", "update"))
async def put_message(caller: CurrentCaller, hub: Hub, message_id: Id, body: UpdateTaskMessageRequest) -> TaskMessage:
    """Replace a message's content."""
    return await update_message(
        caller, hub, body.task_id, message_id, body.content, streaming_status=body.streaming_status
    )


@router.get("", openapi_extra=requires("task", "read"))
async def get_messages(
    caller: CurrentCaller, task_id: Id, page: Annotated[Page, Depends(read_page)]
) -> list[TaskMessage]:
    """The messages of a task, newest first."""
    return await list_messages(caller, task_id, page)


@router.get("/{message_id}", openapi_extra=requires("task", "read"))
async def get_message_by_id(caller: CurrentCaller, message_id: Id) -> TaskMessage:
    """A message."""
    return await get_message(caller, message_id)
