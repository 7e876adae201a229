"""Folds an agent's stream of updates into messages. Pure: it says what to do, the caller does it.

Each index of a stream is one message. It is open from its first update until a `full` or a `done`, or until the
stream ends; what comes for it after that is dropped. Deltas replace the body that its start had, and keep the start's
author, style and format; both kinds of reasoning deltas make one reasoning message.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson
from pydantic import ValidationError

from remit.content import (
    DataContent,
    DataDelta,
    ReasoningContent,
    ReasoningContentDelta,
    ReasoningSummaryDelta,
    StreamTaskMessageDelta,
    StreamTaskMessageFull,
    StreamTaskMessageStart,
    TaskMessageContent,
    TaskMessageDelta,
    TaskMessageUpdate,
    TextContent,
    TextDelta,
    ToolRequestContent,
    ToolRequestDelta,
    ToolResponseContent,
    ToolResponseDelta,
)

# Where JSON text that broke off is kept in a message that can only hold an object.
INCOMPLETE_JSON = "incomplete_json"


class FoldError(Exception):
    """The updates of an agent do not make a message. The message names the index, never the content."""


@dataclass(frozen=True, slots=True)
class CreateMessage:
    """Store a new message for `index`: `DONE` if `done`, else `IN_PROGRESS`."""

    index: int | None
    content: TaskMessageContent
    done: bool


@dataclass(frozen=True, slots=True)
class StoreMessage:
    """Store `content` as the final one of the message of `index`, `DONE`."""

    index: int | None
    content: TaskMessageContent


@dataclass(frozen=True, slots=True)
class ForwardUpdate:
    """Pass `update` on to a client that streams, with the message of its index as `parent_task_message`."""

    update: TaskMessageUpdate


Step = CreateMessage | StoreMessage | ForwardUpdate


@dataclass(frozen=True, slots=True)
class FoldedMessage:
    """What has arrived for `index`: all of it if `complete`, else as much as came."""

    index: int | None
    content: TaskMessageContent
    complete: bool


class Fold:
    """The state of one stream.

    A message is created before anything is forwarded for it, so that the caller always has a row for
    `parent_task_message`. A caller that stores nothing until the end ignores the steps and reads `messages`.
    """

    def __init__(self) -> None:
        self._open: dict[int | None, _OpenMessage] = {}
        self._complete: dict[int | None, TaskMessageContent] = {}
        self._order: list[int | None] = []

    def feed(self, update: TaskMessageUpdate) -> list[Step]:
        """What to do about `update`, in order. An index of null is an index of its own.

        Raises:
            FoldError: delta kinds are mixed in one index, or the JSON of a message that is complete does not parse.
                The fold stays as it was before the update.
        """
        if update.index in self._complete:
            return []
        if isinstance(update, StreamTaskMessageStart):
            return self._start(update)
        if isinstance(update, StreamTaskMessageDelta):
            return self._extend(update)
        if isinstance(update, StreamTaskMessageFull):
            return [*self._finish(update.index, update.content), ForwardUpdate(update)]
        if update.index not in self._open:
            return []
        return [*self._finish(update.index, self._open[update.index].fold(update.index)), ForwardUpdate(update)]

    def close(self) -> list[Step]:
        """What to do at the end of a stream that ended well: store what is still open.

        Raises:
            FoldError: the JSON of an open message does not parse. The fold stays as it was.
        """
        contents = {index: message.fold(index) for index, message in self._open.items()}
        return [step for index, content in contents.items() for step in self._finish(index, content)]

    def messages(self) -> list[FoldedMessage]:
        """Everything that arrived so far, in order of first appearance; this is also what a cut stream leaves."""
        return list(self._each_message())

    def _each_message(self) -> Iterator[FoldedMessage]:
        for index in self._order:
            if index in self._complete:
                yield FoldedMessage(index, self._complete[index], complete=True)
            else:
                yield FoldedMessage(index, self._open[index].fold_what_came(), complete=False)

    def _start(self, update: StreamTaskMessageStart) -> list[Step]:
        if update.index in self._open:
            return []
        self._begin(update.index, update.content)
        return [CreateMessage(update.index, update.content, done=False), ForwardUpdate(update)]

    def _extend(self, update: StreamTaskMessageDelta) -> list[Step]:
        if update.delta is None:
            return []
        steps: list[Step] = []
        if update.index not in self._open:
            content = empty_content_of(update.delta)
            self._begin(update.index, content)
            steps.append(CreateMessage(update.index, content, done=False))
            steps.append(ForwardUpdate(StreamTaskMessageStart(index=update.index, content=content)))
        self._open[update.index].add(update.delta, update.index)
        return [*steps, ForwardUpdate(update)]

    def _begin(self, index: int | None, content: TaskMessageContent) -> None:
        self._open[index] = _OpenMessage(content)
        self._order.append(index)

    def _finish(self, index: int | None, content: TaskMessageContent) -> list[Step]:
        was_open = self._open.pop(index, None) is not None
        self._complete[index] = content
        if was_open:
            return [StoreMessage(index, content)]
        self._order.append(index)
        return [CreateMessage(index, content, done=True)]


@dataclass(slots=True)
class _OpenMessage:
    """A message that grows: its first content, and the pieces that came since."""

    first: TaskMessageContent
    body: TaskMessageContent | None = None
    pieces: list[str] = field(default_factory=list)
    summaries: dict[int, list[str]] = field(default_factory=dict)
    thoughts: dict[int, list[str]] = field(default_factory=dict)

    def add(self, delta: TaskMessageDelta, index: int | None) -> None:
        body = self.body or self._body_for(delta)
        if body.type != content_type_of(delta):
            raise FoldError(f"The message of index {index} mixes {body.type} with {delta.type} deltas.")
        self.body = body
        if isinstance(delta, TextDelta):
            self.pieces.append(delta.text_delta or "")
        elif isinstance(delta, DataDelta):
            self.pieces.append(delta.data_delta or "")
        elif isinstance(delta, ToolRequestDelta):
            self.pieces.append(delta.arguments_delta or "")
        elif isinstance(delta, ToolResponseDelta):
            self.pieces.append(delta.content_delta or "")
        elif isinstance(delta, ReasoningSummaryDelta):
            self.summaries.setdefault(delta.summary_index, []).append(delta.summary_delta or "")
        else:
            self.thoughts.setdefault(delta.content_index, []).append(delta.content_delta or "")

    def fold(self, index: int | None) -> TaskMessageContent:
        """The content, complete.

        Raises:
            FoldError: its JSON is not an object that can be stored.
        """
        body = self.body
        if not isinstance(body, DataContent | ToolRequestContent):
            return self._fold_plain()
        text = "".join(self.pieces)
        if not text.strip():
            return body
        try:
            return _with_object(body, orjson.loads(text))
        except ValueError as error:
            what = "data" if isinstance(body, DataContent) else "tool arguments"
            raise FoldError(f"The {what} of the message of index {index} are not a JSON object.") from error

    def fold_what_came(self) -> TaskMessageContent:
        """The content as far as it came. JSON that broke off is kept as text under `INCOMPLETE_JSON`."""
        try:
            return self.fold(None)
        except FoldError:
            assert isinstance(self.body, DataContent | ToolRequestContent)
            return _with_object(self.body, {INCOMPLETE_JSON: "".join(self.pieces)})

    def _fold_plain(self) -> TaskMessageContent:
        body = self.body
        if isinstance(body, TextContent | ToolResponseContent):
            return body.model_copy(update={"content": "".join(self.pieces)})
        if isinstance(body, ReasoningContent):
            return body.model_copy(
                update={
                    "summary": _join_by_index(self.summaries) if self.summaries else body.summary,
                    "content": _join_by_index(self.thoughts) if self.thoughts else body.content,
                }
            )
        return self.first

    def _body_for(self, delta: TaskMessageDelta) -> TaskMessageContent:
        """The start's content, or an empty one of the delta's kind for an agent whose start was of another kind."""
        if self.first.type == content_type_of(delta):
            return self.first
        return empty_content_of(delta).model_copy(update={"author": self.first.author, "style": self.first.style})


def content_type_of(delta: TaskMessageDelta) -> str:
    """The `type` of the content that deltas of this kind fold to."""
    if isinstance(delta, ReasoningSummaryDelta | ReasoningContentDelta):
        return "reasoning"
    return delta.type


def empty_content_of(delta: TaskMessageDelta) -> TaskMessageContent:
    """The content of the start that the server inserts before a first delta that has none."""
    if isinstance(delta, TextDelta):
        return TextContent(author="agent", content="")
    if isinstance(delta, DataDelta):
        return DataContent(author="agent", data={})
    if isinstance(delta, ToolRequestDelta):
        return ToolRequestContent(author="agent", tool_call_id=delta.tool_call_id, name=delta.name, arguments={})
    if isinstance(delta, ToolResponseDelta):
        return ToolResponseContent(author="agent", tool_call_id=delta.tool_call_id, name=delta.name, content="")
    return ReasoningContent(author="agent", summary=[], content=[])


def _join_by_index(pieces: dict[int, list[str]]) -> list[str]:
    return ["".join(pieces[index]) for index in sorted(pieces)]


def _with_object(body: DataContent | ToolRequestContent, value: object) -> TaskMessageContent:
    """`body` with its object replaced by `value`.

    Raises:
        ValueError: `value` is not an object that can be stored.
    """
    name = "data" if isinstance(body, DataContent) else "arguments"
    try:
        return type(body).model_validate({**body.model_dump(), name: value})
    except ValidationError as error:
        raise ValueError(f"{name} is not an object that can be stored") from error
