"""`/agent_api_keys`: keys of agents, and webhook triggers. What the keys open is in `rpc/forward.py`."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from remit.agent_api_keys.ending import delete_key, delete_named_key
from remit.agent_api_keys.making import create_key
from remit.agent_api_keys.service import AgentAPIKey, AgentRef, KeyType, get_key, get_named_key, list_keys, read_key
from remit.authz.caller import CurrentCaller
from remit.authz.route import GuardedRoute, requires
from remit.content import Text
from remit.errors import BadRequest
from remit.paging import Id, Page, read_page

router = APIRouter(tags=["agent API keys"], route_class=GuardedRoute)

FORWARD_PATH = "/agents/forward/name"

KeyName = Annotated[Text, StringConstraints(min_length=1, max_length=256)]
Deleted = Literal["API key deleted"]


class CreateAPIKeyRequest(BaseModel):
    """A new key. Exactly one of `agent_id` and `agent_name` says whose."""

    agent_id: Id | None = None
    agent_name: Text | None = None
    name: KeyName
    api_key_type: KeyType = "external"
    api_key: Text | None = Field(None, description="A secret that exists already; one is made when it is left out.")


class CreateAPIKeyResponse(AgentAPIKey):
    """The key with its secret, which is shown this once."""

    api_key: str


class CreateWebhookTriggerRequest(BaseModel):
    """A sender of webhooks, and the path of the agent that it reaches."""

    agent_name: Text
    source: Literal["github", "slack"] = "github"
    name: KeyName = Field(description="GitHub: the repository's full name. Slack: the app's id.")
    forward_path: Text = Field(max_length=1024, description="Path at the agent.")
    secret: Text | None = Field(None, description="Signing secret; Slack gives one, for GitHub one is made.")
    base_url: Text | None = Field(None, max_length=1024, description="Where the sender reaches this server.")


class CreateWebhookTriggerResponse(BaseModel):
    """What to enter at the sender. The secret is shown this once."""

    key_id: str
    agent_name: str
    source: KeyType
    name: str
    secret: str
    webhook_path: str
    webhook_url: str | None = None


def read_agent_ref(agent_id: Id | None = None, agent_name: Text | None = None) -> AgentRef:
    """The agent that the query names.

    Raises:
        BadRequest: by none or by both of id and name.
    """
    return AgentRef(agent_id, agent_name)


QueryAgent = Annotated[AgentRef, Depends(read_agent_ref)]


@router.post("/agent_api_keys", openapi_extra=requires("agent", "update"))
async def create_api_key(caller: CurrentCaller, request: Request, body: CreateAPIKeyRequest) -> CreateAPIKeyResponse:
    """Make a key of an agent; the only answer that shows its secret."""
    key, _, secret = await create_key(
        caller,
        request.app.state.settings,
        AgentRef(body.agent_id, body.agent_name),
        name=body.name,
        key_type=body.api_key_type,
        secret=body.api_key,
    )
    return CreateAPIKeyResponse(**dict(key), api_key=secret)


@router.get("/agent_api_keys", openapi_extra=requires("api_key", "read"))
async def list_api_keys(
    caller: CurrentCaller, response: Response, page: Annotated[Page, Depends(read_page)], agent: QueryAgent
) -> list[AgentAPIKey]:
    """The keys of an agent that the caller may read, newest first. `x-next-cursor` leads to the next page."""
    listed = await list_keys(caller, agent, page)
    if listed.next_cursor:
        response.headers["x-next-cursor"] = listed.next_cursor
    return [read_key(row) for row in listed.rows]


@router.post("/agent_api_keys/webhook-trigger", openapi_extra=requires("agent", "update"))
async def create_webhook_trigger(
    caller: CurrentCaller, request: Request, body: CreateWebhookTriggerRequest
) -> CreateWebhookTriggerResponse:
    """Make a signing key and the address that the sender of webhooks is given."""
    if body.source == "slack" and not body.secret:
        raise BadRequest("Slack signs with its app's own Signing Secret: send it as `secret`.")
    if not body.forward_path.isprintable():
        raise BadRequest("`forward_path` must not have control characters.")
    settings = request.app.state.settings
    key, agent_name, secret = await create_key(
        caller, settings, AgentRef(None, body.agent_name), name=body.name, key_type=body.source, secret=body.secret
    )
    path = f"{FORWARD_PATH}/{agent_name}/{quote(body.forward_path.lstrip('/'))}"
    base = body.base_url or settings.public_url
    return CreateWebhookTriggerResponse(
        key_id=key.id,
        agent_name=agent_name,
        source=key.api_key_type,
        name=body.name,
        secret=secret,
        webhook_path=path,
        webhook_url=base.rstrip("/") + path if base else None,
    )


# A name may have slashes, as those of repositories do.
@router.get("/agent_api_keys/name/{name:path}", openapi_extra=requires("api_key", "read"))
async def read_named_api_key(
    caller: CurrentCaller, name: Text, agent: QueryAgent, api_key_type: KeyType = "external"
) -> AgentAPIKey:
    """A key by its name among its agent's keys of a type."""
    return await get_named_key(caller, agent, name, api_key_type)


@router.delete("/agent_api_keys/name/{api_key_name:path}", openapi_extra=requires("api_key", "delete"))
async def delete_named_api_key(
    caller: CurrentCaller, api_key_name: Text, agent: QueryAgent, api_key_type: KeyType = "external"
) -> Deleted:
    """Delete a key by its name."""
    await delete_named_key(caller, agent, api_key_name, api_key_type)
    return "API key deleted"


@router.get("/agent_api_keys/{id}", openapi_extra=requires("api_key", "read"))
async def read_api_key(caller: CurrentCaller, id: Id) -> AgentAPIKey:
    """A key, without its secret."""
    return await get_key(caller, id)


@router.delete("/agent_api_keys/{id}", openapi_extra=requires("api_key", "delete"))
async def delete_api_key(caller: CurrentCaller, id: Id) -> Deleted:
    """Delete a key: the next request with it is refused."""
    await delete_key(caller, id)
    return "API key deleted"
