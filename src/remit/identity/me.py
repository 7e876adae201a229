"""`GET /me`: who am I, in which tenant, with which role, and what may I create."""

from fastapi import APIRouter
from pydantic import BaseModel

from remit.authz.caller import CurrentCaller
from remit.authz.model import Resource
from remit.authz.route import GuardedRoute, unguarded
from remit.db.params import Params

router = APIRouter(tags=["identity"], route_class=GuardedRoute)

ROLES = ("admin", "member", "viewer", "agent_member")
CREATES = {"task": "create_task", "agent": "create_agent"}


class TenantRef(BaseModel):
    """A tenant."""

    id: str
    name: str


class Me(BaseModel):
    """The caller. `role` is the strongest that the caller holds, directly or through a group."""

    kind: str
    id: str
    name: str
    tenant: TenantRef
    role: str | None
    may_create: list[str]


@router.get("/me", openapi_extra=unguarded("it tells callers about themselves only"))
async def get_me(caller: CurrentCaller) -> Me:
    """The principal of the request's credential."""
    tenant = Resource("tenant", caller.principal.tenant_id)
    params = Params()
    id = params.add(tenant.id, "uuid")
    names = (*ROLES, *CREATES.values())
    questions = [caller.engine.check_sql(params, caller.subject, role, "tenant", id) for role in ROLES]
    parts = [caller.part(params, permission, "tenant", id) for permission in CREATES.values()]
    selected = [*questions, *(part.sql for part in parts)]
    if (presumption := caller.presumed) is not None:
        selected.append(presumption.sql(params))
    async with caller.asking_database.connection() as connection:
        row = await connection.fetchrow("SELECT " + ", ".join(selected), *params.values)
    assert row is not None, "a SELECT without FROM has one row"
    held = list(row.values())
    if presumption is not None:
        caller.settle_presumed(held.pop())
    asked = [
        (part, value, permission, tenant)
        for part, value, permission in zip(parts, held[len(ROLES) :], CREATES.values(), strict=True)
    ]
    answers = await caller.decider.settle(caller.principal, asked)
    holds = dict(zip(names, [*held[: len(ROLES)], *answers], strict=True))
    for name in names:
        caller.note("tenant", name, "allowed" if holds[name] else "denied")
    return Me(
        kind=caller.principal.kind,
        id=caller.principal.id,
        name=caller.principal.name,
        tenant=TenantRef(id=tenant.id, name=caller.principal.tenant_name),
        role=next((role for role in ROLES if holds[role]), None),
        may_create=[noun for noun, permission in CREATES.items() if holds[permission]],
    )
