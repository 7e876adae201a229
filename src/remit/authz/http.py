"""The engine `http`: an auth provider elsewhere decides, asked by the open auth-provider contract.

The contract knows four types, six operations and one role, the owner. `create_task` and `create_agent` of a tenant are
asked as `create` on `*`; `share`, which the contract has not, as `delete`. What else a tenant or a group permits is not
the provider's to say, and roles other than the owner's cannot be told to it.

A yes is status 200 with `{"success": true}`; 403 is a no. Everything else, absent routes and errors included, is no
answer: neither a yes nor an absence. Nothing that the provider writes is shown to anybody.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from typing import Any, Final, Self

import httpx
import orjson

from remit.authz.errors import PermissionUnknown
from remit.authz.http_contract import TYPES, PrincipalSource, is_expressible, plain_principal, to_contract
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.remote import Delivery, NotOffered, Question, RemoteError, ResourcePage
from remit.authz.schema_tree import Schema
from remit.budget import spend
from remit.ids import NIL_ID
from remit.settings import Settings

# Statuses after which the same call may succeed, by the name that counters have for them.
_TRANSIENT: Final = {429: "TooManyRequests", 502: "BadGateway", 503: "Unavailable", 504: "GatewayTimeout"}
# A provider says with this header that it refused the calling server, and not the principal.
_CALLER_REFUSED: Final = "x-service-account-auth-error"
_AT_ONCE: Final = 16


class HttpRemote:
    """An auth provider as an engine (the port is `remote.Remote`).

    Args:
        url: what the contract's paths are added to; it may hold a secret and is told to nobody.
        seconds: for all calls of one request together, or of one call outside of a request.
        principal_of: makes the principals.
        headers: sent with each call, for example a caller's secret.
    """

    name = "http"
    bulk_checks = False
    bulk_writes = False
    judges = True
    # An agent shows its own key, of which a provider knows nothing.
    knows_agents = False

    def __init__(
        self,
        url: str,
        *,
        seconds: float = 2.0,
        principal_of: PrincipalSource = plain_principal,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._principal_of = principal_of
        self._account: str | None = None
        self._client = httpx.AsyncClient(
            headers={"content-type": "application/json", "accept": "application/json", **(headers or {})},
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
            timeout=seconds,
            trust_env=False,  # a proxy of the environment is not to see principals
        )

    @classmethod
    def open(cls, settings: Settings, principal_of: PrincipalSource = plain_principal) -> Self:
        """The provider of the settings.

        Raises:
            NotOffered: `REMIT_AUTHZ_URL` is not set.
        """
        if settings.authz_url is None:
            raise NotOffered("the engine `http` needs REMIT_AUTHZ_URL, the address of the auth provider")
        url = settings.authz_url.get_secret_value()
        return cls(url, seconds=settings.authz_timeout, principal_of=principal_of)

    def in_account(self, account_id: str) -> "HttpRemote":
        """The same provider, on the same connections, with this account in every principal."""
        bound = copy(self)
        bound._account = account_id
        return bound

    async def check(
        self,
        questions: Sequence[Question],
        *,
        at_least: str | None = None,  # noqa: ARG002 - the contract has no tokens
    ) -> list[bool]:
        """The answers, in the order asked; a provider gives one per call, so several calls go out at once.

        A provider has no zedtokens: what is told to it counts from then on, so `at_least` asks for nothing.

        Raises:
            NotOffered, PermissionUnknown: as `to_contract`.
            RemoteError: no answer to at least one of them.
        """
        asked = [(question.subject, to_contract(question.permission, question.resource)) for question in questions]
        gate = asyncio.Semaphore(_AT_ONCE)

        async def answer(subject: Subject, type: str, selector: str, operation: str) -> bool:
            async with gate:
                resource = {"type": type, "selector": selector}
                try:
                    body = await self._post("check", {"resource": resource, "operation": operation}, subject)
                except RemoteError as error:
                    if error.denied:
                        return False
                    raise
            return isinstance(body, dict) and body.get("success") is True

        async with self._within():
            # All of them end before the first error is told, so that none goes on outside of the budget.
            answers = await asyncio.gather(
                *(answer(subject, *words) for subject, words in asked), return_exceptions=True
            )
        for given in answers:
            if isinstance(given, BaseException):
                raise given
        return [given is True for given in answers]

    async def lookup_resources(
        self,
        subject: Subject,
        permission: str,
        resource_type: str,
        *,
        at_least: str | None = None,  # noqa: ARG002 - the contract has no tokens
        cursor: str | None = None,  # noqa: ARG002 - the contract has one page
        limit: int = 1000,  # noqa: ARG002 - the contract has one page
    ) -> ResourcePage:
        """All ids in one page, however many: the contract has no pages.

        Raises:
            NotOffered, PermissionUnknown: as `to_contract`.
            RemoteError: no answer, or one that is no list.
        """
        type, _, operation = to_contract(permission, Resource(resource_type, NIL_ID))
        async with self._within():
            body = await self._post("search", {"filter_resource": type, "filter_operation": operation}, subject)
        if isinstance(body, dict):
            # Only the JSON boolean: whatever else is true in Python is not a yes.
            if body.get("unscoped") is True:
                return ResourcePage((), unscoped=True)
            items = body.get("items")
            if isinstance(items, list) and all(isinstance(item, str) for item in items):
                return ResourcePage(tuple(dict.fromkeys(items)))
        raise _no_answer("its list is none", "Malformed", transient=False)

    async def deliver(self, delivery: Delivery) -> None:
        """Tell the provider what became of a resource; sent again it changes nothing.

        A new one is registered for its owner, a further owner is granted, one that is none any more is revoked, a
        deleted resource is deregistered. Tenants and groups are the provider's own: of those nothing is sent.

        Raises:
            RemoteError: unknown whether it was done; `denied` if the provider refused, `NotExpressible` for roles that
                the contract has not.
        """
        resource = delivery.resource
        if resource.type not in TYPES:
            return
        account = next((fact.subject.id for fact in delivery.touch if fact.relation == "tenant"), None)
        named = {"resource": {"type": resource.type, "selector": resource.id}}
        owners = [fact.subject for fact in delivery.touch if fact.relation == "owner" and is_expressible(fact)]
        former = [fact.subject for fact in delivery.delete if fact.relation == "owner" and is_expressible(fact)]
        async with self._within():
            if delivery.gone:
                await self._post("deregister", named, delivery.actor or next(iter(former), None), account)
                return
            if delivery.delivered is None:
                above = next((fact.subject for fact in delivery.touch if fact.relation == "parent_agent"), None)
                parent = {"type": above.type, "selector": above.id} if above else None
                owner = owners.pop(0) if owners else delivery.actor
                await self._post("register", {**named, "parent": parent}, owner, account)
            for subject in owners:
                await self._post("grant", {**named, "operation": "create"}, subject, account)
            for subject in former:
                await self._revoke({**named, "operation": "delete"}, subject, account)
        if not all(is_expressible(fact) for fact in (*delivery.touch, *delivery.delete)):
            raise _no_answer("its contract has no role but the owner's", "NotExpressible", transient=False)

    async def _revoke(self, named: dict[str, Any], subject: Subject, account: str | None) -> None:
        try:
            await self._post("revoke", named, subject, account)
        except RemoteError as refusal:
            if not refusal.denied:
                raise
            try:
                await self._post("check", named, subject, account)
            except RemoteError as error:
                # Whoever was refused as an owner, and is taken away to be sure, has nothing that he could give back.
                if error.denied:
                    return
                raise
            raise

    async def deliver_all(self, deliveries: Sequence[Delivery]) -> str | None:
        """Refused: the contract tells of one resource at a time.

        Raises:
            NotOffered: always.
        """
        raise NotOffered(f"an auth provider is told of one resource at a time, not of {len(deliveries)}")

    async def read_resource(self, resource: Resource) -> tuple[list[Relationship], int | None]:
        """Refused: the contract has no way to read.

        Raises:
            NotOffered: always.
        """
        raise NotOffered(f"an auth provider cannot be read, so not what it holds of {resource}")

    async def read(
        self,
        resource_type: str,  # noqa: ARG002 - no type of a provider can be read
        *,
        tenant_id: str | None = None,  # noqa: ARG002 - no tenant of a provider can be read
        cursor: str | None = None,  # noqa: ARG002 - there is no page to begin at
        limit: int = 1000,  # noqa: ARG002 - there is no page to fill
    ) -> tuple[list[Relationship], str | None]:
        """A provider cannot be read.

        Raises:
            NotOffered: always.
        """
        raise NotOffered("an auth provider does not list its relationships, so they cannot be compared with the rows")

    def takes(self, relationship: Relationship) -> bool:
        """Whether the contract has words for a relationship."""
        return relationship.resource.type not in TYPES or is_expressible(relationship)

    async def find_schema_change(self, schema: Schema) -> str | None:  # noqa: ARG002 - a provider takes no schema
        """A provider has its own rules: nothing of them is to be changed."""
        return None

    async def write_schema(self, schema: Schema) -> bool:  # noqa: ARG002 - a provider takes no schema
        """A provider has its own rules, which it is not told."""
        return False

    async def probe(self, questions: Sequence[tuple[str, str]]) -> None:
        """Ask each about a resource that nobody has, as Remit itself: a yes, a no or a 401 shows that it is understood.

        What the contract has no words for is never asked of a provider, nor is it here.

        Raises:
            PermissionUnknown: this provider does not know one.
            RemoteError: no answer.
        """
        for resource_type, permission in questions:
            try:
                type, selector, operation = to_contract(permission, Resource(resource_type, NIL_ID))
            except NotOffered:
                continue
            question = {"resource": {"type": type, "selector": selector}, "operation": operation}
            async with self._within():
                try:
                    await self._post("check", question, None)
                except RemoteError as error:
                    if error.denied or error.exception_class == "Unauthenticated":
                        continue
                    if error.exception_class in ("Status400", "Status404", "Status422"):
                        message = f"the auth provider does not answer `{operation}` on a {type}"
                        raise PermissionUnknown(message) from error
                    raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, path: str, body: dict[str, Any], subject: Subject | None, account: str | None = None) -> Any:
        """The JSON of a 200; a 403 is a `RemoteError` that says `denied`."""
        principal = await self._principal_of(subject, account or self._account)
        content = orjson.dumps({"principal": principal, **body})
        try:
            response = await self._client.post(f"{self._url}/v1/authz/{path}", content=content)
        except httpx.TransportError as error:
            raise _no_answer("it cannot be reached", type(error).__name__, transient=True) from error
        status = response.status_code
        if _CALLER_REFUSED in response.headers:
            raise _no_answer(
                "it does not accept this server; look at its caller secret", "CallerRefused", transient=status == 503
            )
        if status == 200:
            try:
                return orjson.loads(response.content)
            except orjson.JSONDecodeError as error:
                raise _no_answer("its answer is not JSON", "Malformed", transient=False) from error
        if status == 403:
            raise _no_answer("it refused", "Denied", transient=False, denied=True)
        if status == 401:
            raise _no_answer("it does not accept the principal", "Unauthenticated", transient=False)
        name = _TRANSIENT.get(status)
        raise _no_answer(f"it answered with status {status}", name or f"Status{status}", transient=name is not None)

    @asynccontextmanager
    async def _within(self) -> AsyncIterator[None]:
        try:
            async with spend(self._seconds):
                yield
        except TimeoutError as error:
            raise _no_answer("it did not answer in time", "DeadlineExceeded", transient=True) from error


def _no_answer(what: str, exception_class: str, *, transient: bool, denied: bool = False) -> RemoteError:
    return RemoteError(
        f"no answer from the auth provider: {what}", transient=transient, exception_class=exception_class, denied=denied
    )
