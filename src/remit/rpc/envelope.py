"""JSON-RPC from clients: what a request may look like, and how answers do.

Clients send neither `jsonrpc` nor `id` as a rule; a request without an id is answered in full all the same. What is
known to be wrong before an agent is called is an HTTP 4xx, because the published client's helpers lose the error of a
200.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Response
from pydantic import BaseModel, Field, ValidationError

from remit.authz.route import parse_json
from remit.content import JsonObject, TaskMessageContent, Text
from remit.errors import Invalid, RemitError
from remit.paging import Id
from remit.validation import describe_errors

RpcId = str | int | float | None


class MalformedCall(Invalid):
    """The body is no JSON."""

    rpc_code = -32700


class WrongEnvelope(Invalid):
    """The body is no JSON-RPC request."""

    rpc_code = -32600


class UnknownMethod(Invalid):
    """There is no such method; refused before anything is dispatched."""

    rpc_code = -32601


TaskName = Annotated[Text, Field(min_length=1, max_length=512)]


class CreateTaskParams(BaseModel):
    """Params of `task/create`."""

    name: TaskName | None = None
    params: JsonObject | None = None
    task_metadata: JsonObject | None = None


class TaskRef(BaseModel):
    """Params of `task/cancel` and `task/interrupt`, and what the other methods know their task by."""

    task_id: Id | None = None
    task_name: TaskName | None = None


class SendMessageParams(TaskRef):
    """Params of `message/send`; with neither id nor name it makes a task."""

    content: TaskMessageContent
    stream: bool = False
    task_params: JsonObject | None = None


class SendEventParams(TaskRef):
    """Params of `event/send`."""

    content: TaskMessageContent | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A request, as far as the envelope goes."""

    id: RpcId
    method: str
    params: BaseModel


def read_call(body: bytes, most_depth: int, methods: Mapping[str, type[BaseModel]]) -> Call:
    """Read a request.

    Args:
        body: the HTTP body.
        most_depth: deepest nesting allowed.
        methods: the shape of each method's params.

    Raises:
        CallRefused: it is no JSON, no JSON-RPC request, names no method or has wrong params. Carries the caller's id
            as far as that could be read.
    """
    try:
        envelope = parse_json(body, most_depth)
    except Invalid as error:
        raise CallRefused(None, MalformedCall(error.errors)) from error
    if not isinstance(envelope, dict):
        raise CallRefused(None, WrongEnvelope([("body", "must be a JSON-RPC request object")]))
    id = envelope.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int | float | None):
        raise CallRefused(None, WrongEnvelope([("body.id", "must be a string, a number or null")]))
    if envelope.get("jsonrpc", "2.0") != "2.0":
        raise CallRefused(id, WrongEnvelope([("body.jsonrpc", "must be 2.0")]))
    method, params = envelope.get("method"), envelope.get("params")
    if not isinstance(method, str):
        raise CallRefused(id, WrongEnvelope([("body.method", "must name a method")]))
    if method not in methods:
        raise CallRefused(id, UnknownMethod([("body.method", f"must be one of {', '.join(methods)}")]))
    if not isinstance(params, dict | None):
        raise CallRefused(id, WrongEnvelope([("body.params", "must be an object")]))
    try:
        read = methods[method].model_validate(params or {})
    except ValidationError as error:
        raise CallRefused(id, Invalid(describe_errors(error.errors(), "body.params"))) from error
    if isinstance(read, TaskRef) and read.task_id is not None and read.task_name is not None:
        raise CallRefused(id, Invalid([("body.params", "must name the task by task_id or by task_name, not by both")]))
    return Call(id, method, read)


class CallRefused(Exception):
    """A call that is not carried out, with the id it came with."""

    def __init__(self, id: RpcId, error: RemitError) -> None:
        super().__init__(error.message)
        self.id = id
        self.error = error


def success(id: RpcId, result: Any) -> dict[str, Any]:
    """A response with a result, which is JSON-able."""
    return {"jsonrpc": "2.0", "id": id, "result": result, "error": None}


def failure(id: RpcId, error: RemitError) -> dict[str, Any]:
    """A response with an error."""
    return {"jsonrpc": "2.0", "id": id, "result": None, "error": error.rpc_error()}


def answer(id: RpcId, result: Any) -> Response:
    """The HTTP answer to a call that worked."""
    return _respond(200, success(id, result), {})


def refuse(id: RpcId, error: RemitError, request_id: str) -> Response:
    """The HTTP answer to a call that was refused before an agent was called: a 4xx or 503, with both kinds of body."""
    return _respond(error.status, {**error.body(request_id), **failure(id, error)}, error.headers())


def fail(id: RpcId, error: RemitError) -> Response:
    """The HTTP answer to a call on which the agent failed: by the contract a 200 with an error in it."""
    return _respond(200, failure(id, error), {})


def _respond(status: int, body: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
