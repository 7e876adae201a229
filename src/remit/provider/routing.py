"""Each request where its account's flags send it.

What is told elsewhere can be told again, so that a caller whose call failed in between only has to repeat it: an auth
provider hears of a registration after it is written here, and of a removal before. SpiceDB's projection follows what is
written here, by the request and else by the worker, through the outbox.
"""

from typing import Any

from fastapi import Request

from remit.authz.delivery import Outcome
from remit.authz.ids import encode_id
from remit.authz.model import Resource
from remit.authz.outbox import add_entries
from remit.errors import Unavailable
from remit.provider.elsewhere import Elsewhere
from remit.provider.names import to_resource
from remit.provider.questions import check, search
from remit.provider.registration import grant, may_remove, register, remove
from remit.provider.standing import Asker, admit

_REVOCATION_WAITS = """
SELECT EXISTS (SELECT FROM outbox WHERE resource_type = $1 AND resource_id = $2 AND revocation > 0)
"""


async def check_where_routed(request: Request, principal: Any, type: str, selector: str, operation: str) -> bool:
    """May the principal do the operation?

    Raises:
        Unauthenticated: the principal does not hold.
        RemoteError, Unavailable: the engine that the account's checks go to does not answer.
    """
    async with admit(request, principal) as asker:
        routed = asker.flags.check
        if routed == "postgres":
            return await check(asker, type, selector, operation)
        if await _is_closed(asker, to_resource(asker.account_id, type, selector)):
            return False
    return await Elsewhere.of(asker, routed).check(type, selector, operation)


async def search_where_routed(request: Request, principal: Any, type: str, operation: str) -> list[str]:
    """The caller's ids of all resources of a type on which the principal may do the operation.

    Raises:
        Unauthenticated, RemoteError, Unavailable: as `check_where_routed`.
    """
    async with admit(request, principal) as asker:
        routed = asker.flags.check
        if routed == "postgres":
            return await search(asker, type, operation)
    found = await Elsewhere.of(asker, routed).search(type, operation)
    if routed != "spicedb":
        return found
    async with asker.provider.database.connection() as connection:
        waiting = await connection.fetch(
            "SELECT i.text FROM outbox o JOIN authz_types t ON t.name = o.resource_type"
            " JOIN authz_ids i ON (i.type, i.id) = (t.code, o.resource_id)"
            " WHERE o.resource_type = $1 AND o.revocation > 0",
            type,
        )
    closed = {row["text"] for row in waiting}
    named = ((selector, to_resource(asker.account_id, type, selector)) for selector in found)
    return [selector for selector, resource in named if resource is not None and resource.id not in closed]


async def register_everywhere(
    request: Request, principal: Any, type: str, selector: str, parent: tuple[str, str] | None
) -> None:
    """Register a resource here, and tell the engines elsewhere that its account names.

    Raises:
        Unauthenticated, Forbidden: as `registration.register`; an auth provider may refuse as well.
        RemoteError, Unavailable: an engine elsewhere was not told; the same call may be repeated.
    """
    async with admit(request, principal) as asker:
        resource = await register(asker, type, selector, parent)
        await _record(asker, resource, removed=False)
    await _tell(asker, resource, parent)


async def grant_everywhere(request: Request, principal: Any, type: str, selector: str, operation: str) -> None:
    """Confirm a resource here, and tell the engines elsewhere; one that nobody registered is registered.

    Raises:
        Unauthenticated, Forbidden, RemoteError, Unavailable: as `register_everywhere`.
    """
    async with admit(request, principal) as asker:
        resource, made = await grant(asker, type, selector, operation)
        if made:
            await _record(asker, resource, removed=False)
    if made:
        await _tell(asker, resource, None)


async def remove_everywhere(request: Request, principal: Any, action: str, type: str, selector: str) -> None:
    """Remove a resource elsewhere and here; one that is not registered is no error.

    Raises:
        Unauthenticated, Forbidden: as `registration.may_remove`; an auth provider may refuse as well.
        RemoteError, Unavailable: an engine elsewhere was not told; the same call may be repeated.
    """
    async with admit(request, principal) as asker:
        resource = await may_remove(asker, action, type, selector)
        if resource is None:
            return
        told_first = "http" in asker.flags.dual_write
        if not told_first:
            await _remove(asker, resource)
    if told_first:
        await Elsewhere.of(asker, "http").remove(resource)
        async with admit(request, principal) as asker:
            await _remove(asker, resource)
    await _project(asker, resource)


async def _remove(asker: Asker, resource: Resource) -> None:
    await remove(asker, resource)
    await _record(asker, resource, removed=True)


async def _record(asker: Asker, resource: Resource, *, removed: bool) -> None:
    if "spicedb" in asker.flags.dual_write:
        codes = asker.provider.engine.codes
        key = codes.types[resource.type], encode_id(resource.type, resource.id)
        await add_entries(asker.connection, codes, {key: removed})


async def _tell(asker: Asker, resource: Resource, parent: tuple[str, str] | None) -> None:
    if "http" in asker.flags.dual_write:
        await Elsewhere.of(asker, "http").register(resource, parent)
    await _project(asker, resource)


async def _project(asker: Asker, resource: Resource) -> None:
    """Bring SpiceDB's projection up to date; what is left the worker does, unless checks go there."""
    if "spicedb" not in asker.flags.dual_write:
        return
    deliverer = asker.provider.deliverer
    if deliverer is not None:
        result = await deliverer.deliver(resource, actor=asker.subject)
        if result.outcome is Outcome.DELIVERED:
            return
    if asker.flags.check == "spicedb":
        raise Unavailable("The authorization engine was not told yet; try again.")


async def _is_closed(asker: Asker, resource: Resource | None) -> bool:
    # What was revoked here, and SpiceDB has not heard of, is closed for everybody until it has.
    if asker.flags.check != "spicedb" or resource is None:
        return False
    stored = encode_id(resource.type, resource.id)
    return bool(await asker.connection.fetchval(_REVOCATION_WAITS, resource.type, stored))
