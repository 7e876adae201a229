"""`/v1/accounts/{id}/flags`: read and set by whoever manages the account, with an API key of that account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from remit.authz.caller import Caller, get_caller
from remit.authz.guard import absent, authorize_tenant, label_of
from remit.authz.model import Resource
from remit.authz.route import GuardedRoute, requires
from remit.identity.authenticate import authenticate
from remit.provider.flags import AccountFlags, FlagsChange, change_flags, lock_flags, read_flags, show_flags
from remit.provider.standing import Provider

router = APIRouter(prefix="/v1/accounts", tags=["account flags"], route_class=GuardedRoute)


async def _manage(request: Request, account_id: str) -> Caller:
    """The caller, if the account is his own and he manages it; another account is as absent as one that is none."""
    caller = get_caller(request, await authenticate(request))
    await authorize_tenant(caller, "manage")
    if account_id != caller.principal.tenant_id:
        caller.audit.record(caller.audit_entry("account.flags", "other_tenant", Resource("tenant", account_id[:100])))
        raise absent(label_of(id=account_id))
    return caller


Manager = Annotated[Caller, Depends(_manage)]


@router.get("/{account_id}/flags", openapi_extra=requires("tenant", "manage"))
async def get_flags(request: Request, account_id: str, caller: Manager) -> AccountFlags:
    """Where the account's checks are answered, and where its resources are written."""
    async with caller.database.connection() as connection:
        flags = await read_flags(connection, account_id, Provider.of(request).default_flags)
    return show_flags(account_id, flags)


@router.put("/{account_id}/flags", openapi_extra=requires("tenant", "manage"))
async def put_flags(request: Request, account_id: str, caller: Manager, change: FlagsChange) -> AccountFlags:
    """Set flags; what is left out stays. In force with the next request, in every process."""
    provider = Provider.of(request)
    entry = caller.audit_entry("account.flags", "done", Resource("tenant", account_id))
    async with caller.database.transaction() as connection:
        await lock_flags(connection, account_id)
        before = await read_flags(connection, account_id, provider.default_flags)
        flags = await change_flags(connection, change, before, entry, provider.remotes)
    return show_flags(account_id, flags)
