"""A request with an `Idempotency-Key` in the life of a route: begun once its caller is known, ended with its answer."""

from typing import TYPE_CHECKING

import structlog
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from remit import idempotency
from remit.authz.model import Resource
from remit.errors import NotFound

if TYPE_CHECKING:
    from remit.authz.caller import Caller

log = structlog.get_logger(__name__)


class Replayed(HTTPException):
    """Ends a request with the answer that its key got before; an HTTPException, since FastAPI lets those pass."""

    def __init__(self, answer: idempotency.Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer

    def response(self) -> Response:
        """The answer again."""
        headers = {idempotency.REPLAYED_HEADER: "true"}
        return Response(self.answer.body, self.answer.status, headers, self.answer.media_type)


async def begin_once(request: Request, caller: "Caller") -> None:
    """Take the request's key, if it has one, for a caller who has just been authenticated.

    Raises:
        Replayed: it was answered before, and the caller may still do what that answer took.
        NotFound: he may not any more.
        KeyReused, InProgress, Conflict, Invalid: as `idempotency.begin` and `read_key`.
    """
    request.state.repeated = idempotency.is_repeat(request.headers.get(idempotency.REPEAT_HEADER))
    if request.method != "POST":
        return
    key = idempotency.read_key(request.headers.getlist(idempotency.HEADER))
    if key is None:
        return
    fingerprint = idempotency.hash_request(
        request.method.encode(), request.url.path.encode(), request.url.query.encode(), await request.body()
    )
    begun = await idempotency.begin(caller.database, caller.principal.tenant_id, caller.actor, key, fingerprint)
    if isinstance(begun, idempotency.Entry):
        request.state.once = begun
        request.state.repeated |= begun.repeated
        return
    for resource_type, permission, id in begun.questions:
        if not await caller.holds(permission, Resource(resource_type, id)):
            raise NotFound("What this Idempotency-Key was answered is not there for you any more.")
    raise Replayed(begun)


async def end_once(request: Request, caller: "Caller | None", response: Response | None) -> None:
    """Keep the answer of the request's key, or give the key back where nothing was made."""
    entry: idempotency.Entry | None = getattr(request.state, "once", None)
    if entry is None or caller is None:
        return
    if response is None or response.status_code >= 400:
        await idempotency.give_back(caller.database, entry)
        return
    body = getattr(response, "body", None)
    media_type = response.headers.get("content-type", "application/json")
    await idempotency.finish(
        caller.database,
        entry,
        response.status_code,
        media_type,
        bytes(body) if isinstance(body, bytes | memoryview) else None,
        sorted(caller.questions),
    )
