"""The wire shapes of what messages hold and of the updates that stream them.

Names, fields and defaults are the contract's, so that published clients and agents parse what is written here.
Unknown fields are ignored. Whatever passes these models can be stored in PostgreSQL and written as JSON again.
"""

import math
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictInt, TypeAdapter
from typing_extensions import TypeAliasType

# The JSON writer stops at 254 levels; what is kept stays below it with room for the envelope around it.
MAX_JSON_DEPTH = 200
INTEGER_RANGE = range(-(2**63), 2**64)

Value = TypeVar("Value")


def check_text(text: str) -> str:
    """Returns `text` if PostgreSQL can hold it.

    Raises:
        ValueError: it has the character U+0000 or half of a surrogate pair.
    """
    if "\x00" in text:
        raise ValueError("must not contain the character U+0000")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain half of a surrogate pair") from None
    return text


def check_json(value: Value) -> Value:  # noqa: C901 - one case a kind of JSON value
    """Returns `value` if it is JSON that can be stored and written again; it does not recurse.

    Raises:
        ValueError: a text in it fails `check_text`, a number is not finite or an integer wider than 64 bits, it is
            nested deeper than `MAX_JSON_DEPTH`, or it is no JSON at all.
    """
    pending: list[tuple[object, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_JSON_DEPTH:
            raise ValueError(f"must not be nested deeper than {MAX_JSON_DEPTH} levels")
        if isinstance(item, str):
            check_text(item)
        elif isinstance(item, dict):
            pending.extend((key, depth) for key in item)
            pending.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            pending.extend((child, depth + 1) for child in item)
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise ValueError("must not contain a number that is not finite")
        elif isinstance(item, int):
            if item not in INTEGER_RANGE:
                raise ValueError("must not contain an integer of more than 64 bits")
        elif item is not None:
            raise ValueError("must be JSON")
    return value


Text = Annotated[str, AfterValidator(check_text)]
Json = Annotated[Any, AfterValidator(check_json)]
JsonObject = Annotated[dict[str, Any], AfterValidator(check_json)]
Index = Annotated[StrictInt, Field(ge=-(2**31), lt=2**31)]

MessageAuthor = TypeAliasType("MessageAuthor", Literal["user", "agent"])
MessageStyle = TypeAliasType("MessageStyle", Literal["static", "active"])
TextFormat = TypeAliasType("TextFormat", Literal["markdown", "plain", "code"])


class FileAttachment(BaseModel):
    """A file that a text refers to; the file itself is elsewhere."""

    file_id: Text
    name: Text
    size: Annotated[StrictInt, Field(ge=0, lt=2**63)]
    type: Text


class TextContent(BaseModel):
    """Something said."""

    type: Literal["text"] = "text"
    author: MessageAuthor
    style: MessageStyle = "static"
    format: TextFormat = "plain"
    content: Text
    attachments: list[FileAttachment] | None = None


class ReasoningContent(BaseModel):
    """What a model thought, as short summaries and, where it is shown, in full."""

    type: Literal["reasoning"] = "reasoning"
    author: MessageAuthor
    style: MessageStyle = "static"
    summary: list[Text]
    content: list[Text] | None = None


class DataContent(BaseModel):
    """An object for a program."""

    type: Literal["data"] = "data"
    author: MessageAuthor
    style: MessageStyle = "static"
    data: JsonObject


class ToolRequestContent(BaseModel):
    """A call of a tool."""

    type: Literal["tool_request"] = "tool_request"
    author: MessageAuthor
    style: MessageStyle = "static"
    tool_call_id: Text
    name: Text
    arguments: JsonObject


class ToolResponseContent(BaseModel):
    """What a tool answered."""

    type: Literal["tool_response"] = "tool_response"
    author: MessageAuthor
    style: MessageStyle = "static"
    tool_call_id: Text
    name: Text
    content: Json
    is_error: StrictBool | None = None


TaskMessageContent = TypeAliasType(
    "TaskMessageContent",
    Annotated[
        TextContent | ReasoningContent | DataContent | ToolRequestContent | ToolResponseContent,
        Field(discriminator="type"),
    ],
)


class TaskMessage(BaseModel):
    """A message of a task, as the API shows it."""

    id: Text | None = None
    task_id: Text
    content: TaskMessageContent
    streaming_status: Literal["IN_PROGRESS", "DONE"] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class TextDelta(BaseModel):
    """A piece of a text."""

    type: Literal["text"] = "text"
    text_delta: Text | None = ""


class DataDelta(BaseModel):
    """A piece of the JSON text of a data message."""

    type: Literal["data"] = "data"
    data_delta: Text | None = ""


class ToolRequestDelta(BaseModel):
    """A piece of the JSON text of a tool call's arguments."""

    type: Literal["tool_request"] = "tool_request"
    tool_call_id: Text
    name: Text
    arguments_delta: Text | None = ""


class ToolResponseDelta(BaseModel):
    """A piece of the text that a tool answered."""

    type: Literal["tool_response"] = "tool_response"
    tool_call_id: Text
    name: Text
    content_delta: Text | None = ""


class ReasoningSummaryDelta(BaseModel):
    """A piece of one of the summaries of a reasoning message."""

    type: Literal["reasoning_summary"] = "reasoning_summary"
    summary_index: Index
    summary_delta: Text | None = ""


class ReasoningContentDelta(BaseModel):
    """A piece of one of the texts of a reasoning message."""

    type: Literal["reasoning_content"] = "reasoning_content"
    content_index: Index
    content_delta: Text | None = ""


TaskMessageDelta = TypeAliasType(
    "TaskMessageDelta",
    Annotated[
        TextDelta | DataDelta | ToolRequestDelta | ToolResponseDelta | ReasoningSummaryDelta | ReasoningContentDelta,
        Field(discriminator="type"),
    ],
)


class StreamTaskMessageStart(BaseModel):
    """A message begins."""

    type: Literal["start"] = "start"
    index: Index | None = None
    parent_task_message: TaskMessage | None = None
    content: TaskMessageContent


class StreamTaskMessageDelta(BaseModel):
    """A message grows."""

    type: Literal["delta"] = "delta"
    index: Index | None = None
    parent_task_message: TaskMessage | None = None
    delta: TaskMessageDelta | None = None


class StreamTaskMessageFull(BaseModel):
    """A message in one piece."""

    type: Literal["full"] = "full"
    index: Index | None = None
    parent_task_message: TaskMessage | None = None
    content: TaskMessageContent


class StreamTaskMessageDone(BaseModel):
    """A message is complete."""

    type: Literal["done"] = "done"
    index: Index | None = None
    parent_task_message: TaskMessage | None = None


TaskMessageUpdate = TypeAliasType(
    "TaskMessageUpdate",
    Annotated[
        StreamTaskMessageStart | StreamTaskMessageDelta | StreamTaskMessageFull | StreamTaskMessageDone,
        Field(discriminator="type"),
    ],
)

content_adapter: TypeAdapter[TaskMessageContent] = TypeAdapter(TaskMessageContent)
update_adapter: TypeAdapter[TaskMessageUpdate] = TypeAdapter(TaskMessageUpdate)
