"""`/agents/forward/name/{agent_name}/{path}`: requests of webhooks, and of whoever may execute the agent, passed on.

Nothing is passed on, or echoed, before a key, a signature or a permission is found good. The agent's own `/api`, where
the server calls it, is not reached this way: what goes there has been authorized by task.
"""

from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from remit.agent_api_keys.webhooks import admit_sender
from remit.agents.service import AGENT
from remit.authz.caller import count_call
from remit.authz.guard import authorize
from remit.authz.route import GuardedRoute, unguarded
from remit.content import Text
from remit.errors import AgentTrouble, BadRequest, NotFound
from remit.identity.authenticate import authenticate
from remit.rpc.answers import AgentError
from remit.rpc.client import AgentClient
from remit.rpc.headers import forward_headers

router = APIRouter(tags=["agents"], route_class=GuardedRoute)

# Beside what `forward_headers` lets pass: what a webhook means, and the signature, for an agent that checks it again.
PASSED = ("accept", "content-type", "user-agent", "x-hub-signature-256", "x-slack-signature")
# An agent's page must not run as one of this server.
SEALED = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
RESERVED = "api"


@router.get(
    "/agents/forward/name/{agent_name}/{path:path}",
    openapi_extra=unguarded("an external key, a signature, or `execute` on the agent decides"),
    response_class=Response,
)
async def forward_get(request: Request, agent_name: Text, path: Text) -> Response:
    """Pass a GET on to an agent."""
    return await _forward(request, agent_name, path)


@router.post(
    "/agents/forward/name/{agent_name}/{path:path}",
    openapi_extra=unguarded("an external key, a signature, or `execute` on the agent decides"),
    response_class=Response,
)
async def forward_post(request: Request, agent_name: Text, path: Text) -> Response:
    """Pass a POST on to an agent, as a webhook or by hand."""
    return await _forward(request, agent_name, path)


async def _forward(request: Request, agent_name: str, path: str) -> Response:
    state = request.app.state
    body = await request.body()
    admitted = await admit_sender(state.database, state.settings, agent_name, request.headers, body)
    if admitted is not None and admitted.challenge is not None:
        return PlainTextResponse(admitted.challenge, headers=SEALED)
    if admitted is not None:
        address = admitted.acp_url
    else:
        caller = await count_call(request, await authenticate(request))
        address = (await authorize(caller, AGENT, "execute", name=agent_name, columns="t.id, t.acp_url"))["acp_url"]
    target = _read_target(path, request.url.query)
    if address is None:
        raise NotFound("The agent has not registered an address yet.")
    headers = forward_headers(request.headers)
    headers |= {name: request.headers[name] for name in PASSED if name in request.headers}
    agents: AgentClient = state.agents
    try:
        answer = await agents.forward(
            address, request.method, target, request_id=request.state.request_id, headers=headers, body=body
        )
    except AgentError as error:
        raise AgentTrouble(str(error)) from error
    return Response(answer.body, answer.status, SEALED, answer.content_type)


def _read_target(path: str, query: str) -> str:
    """The path and query at the agent.

    Raises:
        BadRequest: the path can be read in two ways, or goes where only the server's own calls go.
    """
    segments = path.split("/")
    if not path.isprintable() or "\\" in path or any(segment in ("", ".", "..") for segment in segments[:-1]):
        raise BadRequest("The path must be plain: no empty, `.` or `..` parts, no backslash, no control characters.")
    if segments[-1] in (".", "..") or segments[0].lower() == RESERVED:
        raise BadRequest("This path of an agent is not forwarded to.")
    return "/" + quote(path) + (f"?{query}" if query else "")
