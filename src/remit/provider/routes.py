"""The auth-provider contract: who calls, and what they may.

Callers want exactly 200 with a JSON body for a yes, also where they do not read the body; 403 is a no, 401 a principal
that does not hold (any more). The `message` of these two is what their own user is shown.
"""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from remit.authz.route import GuardedRoute, unguarded
from remit.errors import Forbidden
from remit.provider.authentication import authenticate_headers
from remit.provider.principals import issue_principal
from remit.provider.questions import Operation, ResourceType
from remit.provider.routing import (
    check_where_routed,
    grant_everywhere,
    register_everywhere,
    remove_everywhere,
    search_where_routed,
)
from remit.provider.standing import Provider

_ITSELF = unguarded("it is the question itself")
_ASKS = unguarded("it asks the graph about the principal in its body")

router = APIRouter(prefix="/v1", tags=["auth provider"], route_class=GuardedRoute)


class ResourceRef(BaseModel):
    """A resource of the caller."""

    type: ResourceType
    selector: str = Field(description="The caller's id; `*` in checks for `create`.")


class OfPrincipal(BaseModel):
    """A request about a principal."""

    principal: Any = Field(description="The object that `/v1/authn` answered, unchanged.")


class OperationRequest(OfPrincipal):
    """May the principal do the operation?"""

    resource: ResourceRef
    operation: Operation


class SearchRequest(OfPrincipal):
    """On which resources of a type may the principal do the operation?"""

    filter_resource: ResourceType
    filter_operation: Operation


class RegisterRequest(OfPrincipal):
    """A new resource of the principal, and what it belongs to."""

    resource: ResourceRef
    parent: ResourceRef | None = None


class DeregisterRequest(OfPrincipal):
    """A resource that is gone."""

    resource: ResourceRef


class Done(BaseModel):
    """Yes, or done."""

    success: bool = True


class Found(Done):
    """All ids that there are; there is no next page."""

    items: list[str]


@router.post("/authn", openapi_extra=unguarded("it says who the credentials belong to"))
async def authn(request: Request) -> dict[str, str]:
    """The principal of the request's credentials: an API key of Remit, or a token of an identity provider."""
    provider = Provider.of(request)
    tokens = request.app.state.tokens
    principal = await authenticate_headers(provider.database, provider.engine, tokens, request.headers)
    return issue_principal(provider.key, principal, lifetime=provider.settings.auth_principal_lifetime)


@router.post("/authz/check", openapi_extra=_ITSELF)
async def check_operation(request: Request, body: OperationRequest) -> Done:
    """200 for yes, 403 for no."""
    named = body.resource.type, body.resource.selector
    if not await check_where_routed(request, body.principal, *named, body.operation):
        raise Forbidden(f"You may not {body.operation} this {body.resource.type}.")
    return Done()


@router.post("/authz/search", openapi_extra=_ITSELF)
async def search_resources(request: Request, body: SearchRequest) -> Found:
    """Every id on which the principal may do the operation."""
    found = await search_where_routed(request, body.principal, body.filter_resource, body.filter_operation)
    return Found(items=found)


@router.post("/authz/grant", openapi_extra=_ASKS)
async def grant_operation(request: Request, body: OperationRequest) -> Done:
    """Confirm that the resource is the principal's."""
    named = body.resource.type, body.resource.selector
    await grant_everywhere(request, body.principal, *named, body.operation)
    return Done()


@router.post("/authz/revoke", openapi_extra=_ASKS)
async def revoke_operation(request: Request, body: OperationRequest) -> Done:
    """Remove a deleted resource: of tasks the caller sends no deregistration. What is not there is no error."""
    named = body.resource.type, body.resource.selector
    if body.operation == "delete":
        await remove_everywhere(request, body.principal, "revoke", *named)
    return Done()


@router.post("/authz/register", openapi_extra=_ASKS)
async def register_resource(request: Request, body: RegisterRequest) -> Done:
    """Account, owner and parent of a new resource, in one step."""
    parent = (body.parent.type, body.parent.selector) if body.parent else None
    await register_everywhere(request, body.principal, body.resource.type, body.resource.selector, parent)
    return Done()


@router.post("/authz/deregister", openapi_extra=_ASKS)
async def deregister_resource(request: Request, body: DeregisterRequest) -> Done:
    """Remove every relationship of a resource."""
    await remove_everywhere(request, body.principal, "deregister", body.resource.type, body.resource.selector)
    return Done()
