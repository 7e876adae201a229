"""`/agents/{agent}/rpc`: the calls of clients, each with the permission that matches its side effect."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from remit.authz.caller import Caller, CurrentCaller
from remit.authz.errors import AuthzError
from remit.authz.route import GuardedRoute, requires
from remit.content import Text
from remit.db.pool import UNREACHABLE
from remit.errors import AgentTrouble, AuthorizationUnavailable, Invalid, Refused, RemitError, Unavailable
from remit.idempotency import HEADER, hash_request
from remit.limits import StreamTicket, TicketedStream
from remit.paging import Id
from remit.rpc.call import CallContext, cancel_task, interrupt_task, send_event
from remit.rpc.create import create_task
from remit.rpc.envelope import (
    Call,
    CallRefused,
    CreateTaskParams,
    RpcId,
    SendEventParams,
    SendMessageParams,
    TaskRef,
    answer,
    fail,
    read_call,
    refuse,
)
from remit.rpc.send import SendTurn, begin_turn
from remit.tasks.repeats import Origin
from remit.validation import describe_errors

log = structlog.get_logger(__name__)


# What becomes an answer; anything else is a fault of ours, which the outermost layer logs and answers 500.
TOLD = (RemitError, Refused, RequestValidationError, AuthzError, *UNREACHABLE)


def describe_error(error: BaseException) -> RemitError:
    """What a caller is told of one of `TOLD`."""
    match error:
        case RemitError():
            return error
        case Refused():
            return error.error
        case RequestValidationError():
            return Invalid(describe_errors(error.errors()))
        case AuthzError():
            log.error("the authorization engine failed", cause=repr(error))
            return AuthorizationUnavailable("Authorization could not be decided; nothing was done.")
        case _:
            log.warning("the database failed a call", cause=repr(error))
            return Unavailable("The database cannot be reached; try again.")


class RpcRoute(GuardedRoute):
    """A route whose refusals are JSON-RPC errors as well, those among them that come before the call is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI, with what it raises answered in both protocols."""
        handle = super().get_route_handler()

        async def handle_rpc(request: Request) -> Response:
            try:
                return await handle(request)
            except TOLD as error:
                return refuse(None, describe_error(error), request.state.request_id)

        return handle_rpc


router = APIRouter(tags=["rpc"], route_class=RpcRoute)

Result = TypeVar("Result")

PARAMS: dict[str, type[BaseModel]] = {
    "task/create": CreateTaskParams,
    "message/send": SendMessageParams,
    "event/send": SendEventParams,
    "task/cancel": TaskRef,
    "task/interrupt": TaskRef,
}
# What acts on an existing task asks the task's permission alone; what makes one asks the agent's and the tenant's.
GUARDED = requires("agent", "execute", or_else=("task.update", "task.cancel"))

_SIMPLE: dict[str, Callable[[CallContext, Any], Awaitable[BaseModel | dict[str, Any]]]] = {
    "task/create": create_task,
    "event/send": send_event,
    "task/cancel": cancel_task,
    "task/interrupt": interrupt_task,
}


@router.post("/agents/{agent_id}/rpc", openapi_extra=GUARDED)
async def call_by_id(caller: CurrentCaller, request: Request, agent_id: Id) -> Response:
    """A JSON-RPC call to an agent."""
    return await _handle(caller, request, agent_id, None)


@router.post("/agents/name/{agent_name}/rpc", openapi_extra=GUARDED)
async def call_by_name(caller: CurrentCaller, request: Request, agent_name: Text) -> Response:
    """A JSON-RPC call to an agent, by its name."""
    return await _handle(caller, request, None, agent_name)


async def _handle(caller: Caller, request: Request, agent_id: str | None, agent_name: str | None) -> Response:
    state = request.app.state
    context = CallContext(
        caller,
        agent_id,
        agent_name,
        state.hub,
        state.agents,
        state.settings,
        state.background,
        request.headers,
        Origin(
            caller.principal.tenant_id,
            caller.subject,
            hash_request(request.url.path.encode(), await request.body(), *_keys_of(request)),
            request.state.repeated,
            request.state.arrived,
        ),
    )
    try:
        call = read_call(await request.body(), state.settings.max_json_depth, PARAMS)
    except CallRefused as refusal:
        return refuse(refusal.id, refusal.error, caller.request_id)
    request.state.operation = call.method
    try:
        return await _dispatch(context, request, call)
    except AgentTrouble as error:
        request.state.outcome = "agent_error"
        return fail(call.id, error)
    except TOLD as error:
        return refuse(call.id, describe_error(error), caller.request_id)


def _keys_of(request: Request) -> list[bytes]:
    """The idempotency key of a request, if it has one: with different keys, equal requests are not the same."""
    return [key.encode() for key in request.headers.getlist(HEADER)]


async def _dispatch(context: CallContext, request: Request, call: Call) -> Response:
    if isinstance(call.params, SendMessageParams):
        if call.params.stream:
            return await _stream_answer(context, request, call.params, call.id)
        messages = await run_while_connected(request, _send(context, call.params))
        return answer(call.id, [message.model_dump(mode="json") for message in messages])
    result = await run_while_connected(request, _SIMPLE[call.method](context, call.params))
    return answer(call.id, result.model_dump(mode="json") if isinstance(result, BaseModel) else result)


async def _stream_answer(
    context: CallContext, request: Request, params: SendMessageParams, id: RpcId
) -> "AnswerStream":
    ticket = request.app.state.limits.take_stream(context.caller.actor)
    try:
        return AnswerStream(ticket, await run_while_connected(request, begin_turn(context, params)), id)
    except BaseException:
        ticket.release()
        raise


class AnswerStream(TicketedStream):
    """An agent's answer as it comes. However the response ends, the turn ends with it."""

    def __init__(self, ticket: StreamTicket, turn: SendTurn, id: RpcId) -> None:
        self._turn = turn
        self._lines = turn.stream(id)
        super().__init__(ticket, self._lines, "application/x-ndjson", {"cache-control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._lines.aclose()
            self._turn.give_up()


async def _send(context: CallContext, params: SendMessageParams) -> list[BaseModel]:
    turn = await begin_turn(context, params)
    return list(await turn.answer())


class ClientGone(RemitError):
    """Nobody waits for the answer any more; this one reaches nobody."""

    status, problem, title = 499, "client-gone", "The client went away"


async def run_while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """Do the work; cancel it when the client goes away.

    Args:
        request: a request whose body has been read.
        work: what to do.

    Raises:
        ClientGone: the client went away first.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone("The client went away.")
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
