"""`/agents`: read, list, delete, register. Calls to agents are in `rpc/`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from remit.agents.addresses import AddressRefused, check_address
from remit.agents.build import RegisterBuildRequest, register_build
from remit.agents.registration import (
    RegisterAgentRequest,
    RegisterAgentResponse,
    refuse_address,
    register_by_subject,
    register_openly,
    register_with_own_key,
)
from remit.agents.service import AGENT, COLUMNS, Agent, delete_agent, filter_by_task, get_agent, read_agent
from remit.authz.caller import CurrentCaller, begin_call_of
from remit.authz.route import GuardedRoute, parse_filter, requires, unguarded
from remit.authz.sharing import AccessList, Role, ShareRequest, SubjectName, SubjectType, list_access, share, unshare
from remit.authz.visible import list_visible
from remit.content import Text
from remit.db.params import Params
from remit.identity.authenticate import authenticate_optional, read_credentials
from remit.identity.principal import Principal
from remit.paging import Id, Page, read_page
from remit.wire import DeleteResponse

router = APIRouter(tags=["agents"], route_class=GuardedRoute)


@router.get("/agents", openapi_extra=requires("agent", "read"))
async def list_agents(
    caller: CurrentCaller,
    response: Response,
    page: Annotated[Page, Depends(read_page)],
    task_id: Id | None = None,
    agent_card_metadata: Annotated[
        str | None, Query(description="JSON object that the `metadata` of an agent's card contains.")
    ] = None,
) -> list[Agent]:
    """The agents that the caller may read, newest first. `x-next-cursor` leads to the next page."""
    params = Params()
    where = [await filter_by_task(caller, params, task_id)] if task_id else []
    if agent_card_metadata is not None:
        contained = params.add(parse_filter("agent_card_metadata", agent_card_metadata), "jsonb")
        where.append(f"t.registration_metadata #> '{{agent_card,metadata}}' @> {contained}")
    listed = await list_visible(caller, AGENT, page, columns=COLUMNS, where=where, params=params)
    if listed.next_cursor:
        response.headers["x-next-cursor"] = listed.next_cursor
    return [read_agent(row) for row in listed.rows]


@router.post("/agents/register", openapi_extra=unguarded("the agent's key, or the rules of enrolment, decide"))
async def register_agent(
    request: Request,
    body: RegisterAgentRequest,
    principal: Annotated[Principal | None, Depends(authenticate_optional)],
) -> RegisterAgentResponse:
    """An agent process registers, at each of its starts."""
    state = request.app.state
    try:
        url = check_address(body.acp_url, state.settings)
    except AddressRefused as error:
        raise refuse_address(str(error)) from error
    if principal is None:
        # Whoever asks through a proxy is elsewhere, wherever he says that he is.
        behind_proxy = "x-forwarded-for" in request.headers or "forwarded" in request.headers
        host = request.client.host if request.client and not behind_proxy else ""
        return await register_openly(
            state.database, state.engine, state.settings, host, request.state.request_id, url, body
        )
    caller = await begin_call_of(request, principal)
    if principal.kind == "agent":
        return await register_with_own_key(caller, read_credentials(request)[0], url, body)
    return await register_by_subject(caller, url, body)


@router.post("/agents/register-build", openapi_extra=requires("tenant", "create_agent"))
async def register_built_agent(caller: CurrentCaller, body: RegisterBuildRequest) -> Agent:
    """Register an agent before it is deployed, so that it can be shared; one of that name is answered as it is."""
    return await register_build(caller, body)


@router.get("/agents/{agent_id}", openapi_extra=requires("agent", "read"))
async def read_agent_by_id(caller: CurrentCaller, agent_id: Id) -> Agent:
    """An agent."""
    return await get_agent(caller, id=agent_id)


@router.get("/agents/name/{agent_name}", openapi_extra=requires("agent", "read"))
async def read_agent_by_name(caller: CurrentCaller, agent_name: Text) -> Agent:
    """An agent by its name within the caller's tenant."""
    return await get_agent(caller, name=agent_name)


@router.delete("/agents/{agent_id}", openapi_extra=requires("agent", "delete"))
async def remove_agent(caller: CurrentCaller, agent_id: Id) -> DeleteResponse:
    """Delete an agent: its keys die with it."""
    id, name = await delete_agent(caller, id=agent_id)
    return DeleteResponse(id=id, message=f"Agent {name} deleted")


@router.delete("/agents/name/{agent_name}", openapi_extra=requires("agent", "delete"))
async def remove_agent_by_name(caller: CurrentCaller, agent_name: Text) -> DeleteResponse:
    """Delete an agent, by its name."""
    id, name = await delete_agent(caller, name=agent_name)
    return DeleteResponse(id=id, message=f"Agent {name} deleted")


@router.get("/agents/{agent_id}/access", openapi_extra=requires("agent", "share"))
async def get_agent_access(caller: CurrentCaller, agent_id: Id) -> AccessList:
    """Who holds which role on an agent."""
    return await list_access(caller, AGENT, agent_id)


@router.put("/agents/{agent_id}/access", openapi_extra=requires("agent", "share"))
async def put_agent_access(caller: CurrentCaller, agent_id: Id, body: ShareRequest) -> AccessList:
    """Give a user, a service account or a group of the tenant a role on an agent."""
    return await share(caller, AGENT, agent_id, body)


@router.delete("/agents/{agent_id}/access", openapi_extra=requires("agent", "share"))
async def delete_agent_access(
    caller: CurrentCaller, agent_id: Id, subject_type: SubjectType, subject_id: SubjectName, role: Role | None = None
) -> AccessList:
    """Take a role on an agent away; all roles of the subject when none is named."""
    return await unshare(caller, AGENT, agent_id, subject_type, subject_id, role)
