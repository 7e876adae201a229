"""`GET /access/me`: what the caller may do with which resources, for pages that grey out buttons.

One statement, however many there are. What the caller may not read is left out, as if it were not there.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from remit.agent_api_keys.service import API_KEY
from remit.agents.service import AGENT
from remit.authz.caller import Caller, CurrentCaller
from remit.authz.decide import Part
from remit.authz.errors import PermissionUnknown
from remit.authz.model import Resource
from remit.authz.route import GuardedRoute, requires
from remit.authz.visible import list_visible
from remit.db.params import Params
from remit.errors import Invalid
from remit.paging import Id, Page, read_page
from remit.tasks.service import TASK

router = APIRouter(tags=["identity"], route_class=GuardedRoute)

KINDS = {"agent": AGENT, "task": TASK, "api_key": API_KEY}
MOST_IDS = 200

ResourceType = Literal["agent", "task", "api_key"]
Operation = Literal["read", "update", "delete", "execute", "cancel", "share"]


class Access(BaseModel):
    """Whether the caller may do it to this resource."""

    id: str
    allowed: bool


class MyAccess(BaseModel):
    """The answers, newest resource first."""

    type: ResourceType
    operation: Operation
    items: list[Access]


@router.get("/access/me", openapi_extra=requires("task", "read", or_else=("agent.read", "api_key.read")))
async def get_my_access(
    caller: CurrentCaller,
    response: Response,
    page: Annotated[Page, Depends(read_page)],
    type: ResourceType,
    operation: Operation,
    ids: Annotated[
        list[Id] | None, Query(max_length=MOST_IDS, description="Resources; by default a page of all that is readable.")
    ] = None,
) -> MyAccess:
    """Whether the caller may do an operation, for many resources at once. `x-next-cursor` leads to the next page."""
    kind, params = KINDS[type], Params()
    part = _ask(caller, params, operation, type)
    where = []
    if ids is not None:
        where = [f"t.id = ANY({params.add(ids, 'uuid[]')})"]
        page = Page(limit=MOST_IDS, before=None, skip=0)
    columns = f"t.id, ({part.sql}) AS known"
    listed = await list_visible(caller, kind, page, columns=columns, where=where, params=params)
    if ids is None and listed.next_cursor:
        response.headers["x-next-cursor"] = listed.next_cursor
    caller.note(type, operation, "listed", checks=len(listed.rows))
    asked = [(part, row["known"], operation, Resource(type, row["id"])) for row in listed.rows]
    answers = await caller.decider.settle(caller.principal, asked)
    items = [Access(id=row["id"], allowed=allowed) for row, allowed in zip(listed.rows, answers, strict=True)]
    return MyAccess(type=type, operation=operation, items=items)


def _ask(caller: Caller, params: Params, operation: str, type: str) -> Part:
    try:
        return caller.part(params, operation, type, "t.id")
    except PermissionUnknown as error:
        raise Invalid([("query.operation", f"must be one that the type `{type}` has")]) from error
