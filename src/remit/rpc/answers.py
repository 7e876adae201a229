"""Reads what agents answer: JSON-RPC 2.0, in one piece or as lines."""

from collections.abc import Iterator

import orjson
from pydantic import ValidationError

from remit.content import (
    StreamTaskMessageFull,
    TaskMessageUpdate,
    content_adapter,
    update_adapter,
)

UPDATE_TYPES = ("start", "delta", "full", "done")
SSE_FIELDS = (b":", b"event:", b"id:", b"retry:")
MAX_REASON_LENGTH = 1000


class AgentError(Exception):
    """A call to an agent did not work out. The message is for the caller and does not say where the agent listens."""


class AgentRubbish(AgentError):
    """The agent's answer is not what the contract says."""


class AgentFailed(AgentError):
    """The agent answered with an error of its own.

    Args:
        code: the JSON-RPC error code.
        message: the agent's words, cut to `MAX_REASON_LENGTH`.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"The agent failed: {message}")
        self.code = code
        self.message = message


def read_answer(text: bytes, expected_id: str) -> object:
    """The `result` of a JSON-RPC response, None included.

    Raises:
        AgentFailed: it is an error response.
        AgentRubbish: it is no JSON-RPC response, or one to another request.
    """
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise AgentRubbish("The agent's answer is not JSON.") from error
    if not isinstance(answer, dict) or answer.get("jsonrpc") != "2.0" or not answer.keys() & {"result", "error"}:
        raise AgentRubbish("The agent's answer is not a JSON-RPC response.")
    failure = answer.get("error")
    # An agent that could not read the request cannot name it: its error may have a null id.
    if answer.get("id") != expected_id and (failure is None or answer.get("id") is not None):
        raise AgentRubbish("The agent answered another request than the one it was sent.")
    if failure is not None:
        raise _read_failure(failure)
    return answer.get("result")


class LineSplitter:
    """Cuts a body into lines, whatever the chunks it comes in; keeps what is not yet a line.

    Args:
        whole: the body claims to be one JSON text, which may have line breaks in it; it is given as one line if it
            is, else in lines, both at the end.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._pieces: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes."""
        first, *rest = [chunk] if self._whole else chunk.split(b"\n")
        self._pieces.append(first)
        for piece in rest:
            yield b"".join(self._pieces)
            self._pieces = [piece]

    def close(self) -> Iterator[bytes]:
        """What is left at the end of the body."""
        text = b"".join(self._pieces)
        self._pieces = []
        if self._whole and not _is_json(text):
            yield from text.split(b"\n")
        else:
            yield text


class UpdateReader:
    """Reads the lines that answer `message/send`: updates, or contents of whole messages, one or a list of them.

    Args:
        expected_id: the id that each line's response must have.
    """

    def __init__(self, expected_id: str) -> None:
        self._expected_id = expected_id
        self._next_index = 0

    def read(self, line: bytes) -> Iterator[TaskMessageUpdate]:
        """The updates in a line; none for blank lines and for the parts of an SSE frame that are not data.

        Raises:
            AgentFailed, AgentRubbish: as `read_answer`; also rubbish: a result that is neither.
        """
        text = line.strip()
        if text.startswith(b"data:"):
            text = text[len(b"data:") :].strip()
        elif text.startswith(SSE_FIELDS):
            return
        if text in (b"", b"[DONE]"):
            return
        result = read_answer(text, self._expected_id)
        if result is None:
            return
        for item in result if isinstance(result, list) else [result]:
            yield self._read_item(item)

    def _read_item(self, item: object) -> TaskMessageUpdate:
        if not isinstance(item, dict):
            raise AgentRubbish("The agent sent something that is neither an update nor a message.")
        try:
            if item.get("type") in UPDATE_TYPES:
                update = update_adapter.validate_python({**item, "parent_task_message": None})
            else:
                content = item["content"] if isinstance(item.get("content"), dict) and "type" not in item else item
                update = StreamTaskMessageFull(index=self._next_index, content=content_adapter.validate_python(content))
        except ValidationError as error:
            raise AgentRubbish(f"The agent sent an update that is not valid: {_describe(error)}.") from error
        if update.index is not None:
            self._next_index = max(self._next_index, update.index + 1)
        return update


def _read_failure(failure: object) -> AgentError:
    if isinstance(failure, dict):
        code, message = failure.get("code"), failure.get("message")
        if isinstance(code, int) and isinstance(message, str):
            return AgentFailed(code, message[:MAX_REASON_LENGTH].replace("\x00", ""))
    return AgentRubbish("The agent answered with an error that is not a JSON-RPC error.")


def _describe(error: ValidationError) -> str:
    """The first thing that is wrong, by field and rule, without what the agent sent."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'type'} ({first['type']})"


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
