"""The caller's side of `/v1/authn`: an auth provider says whose the credentials of a request are.

All headers of the request are shown to the provider, but for those of the connection. Its answer is kept for a minute
under the headers that the contract lets a principal depend on; a refusal is not kept.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson
import structlog
from starlette.datastructures import Headers

from remit.budget import spend
from remit.db.pool import Database
from remit.errors import Unauthenticated, Unavailable
from remit.identity.bearer_tokens import Identity
from remit.identity.members import find_member
from remit.identity.principal import Principal
from remit.identity.provider_principals import ISSUER, ProviderPrincipals
from remit.identity.subjects import LONGEST_NAME, SubjectKind
from remit.settings import Settings

if TYPE_CHECKING:
    from remit.authz.engine import Engine

log = structlog.get_logger(__name__)

KEPT_SECONDS: Final = 60.0
MOST_KEPT: Final = 1000
# A principal may depend on headers whose name has one of these in it, and on no other.
_DECISIVE: Final = (
    "authorization", "cookie", "x-auth", "x-api-key", "x-session", "x-selected-account-id", "x-user-id",
)  # fmt: skip
_NOT_PASSED_ON: Final = frozenset(
    {"content-length", "host", "connection", "transfer-encoding", "expect", "accept-encoding"}
)
_KINDS: Final[tuple[tuple[str, SubjectKind], ...]] = (("user_id", "user"), ("service_account_id", "service_account"))


class ProviderAuthentication:
    """Asks the auth provider of the settings who is calling.

    Args:
        settings: for its address, and the time for one request.
        http: sends.
        database: where subjects are.
        engine: where the membership of a new one is written.
        principals: where what the provider hands out is kept.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        settings: Settings,
        http: httpx.AsyncClient,
        database: Database,
        engine: "Engine",
        principals: ProviderPrincipals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert settings.authz_url is not None, "an auth provider is set up"
        self._url = settings.authz_url.get_secret_value().rstrip("/") + "/v1/authn"
        self._seconds = settings.authz_timeout
        self._default_tenant = settings.default_tenant
        proxy = settings.trusted_proxy
        self._not_passed_on = _NOT_PASSED_ON | ({proxy.secret_header.lower()} if proxy else set())
        self._http, self._database, self._engine, self._principals = http, database, engine, principals
        self._clock = clock
        self._kept: dict[bytes, tuple[float, Identity]] = {}

    def finds_credentials(self, headers: Headers) -> bool:
        """Whether a request carries anything that the provider might know."""
        return any(part in name.lower() for name in headers for part in _DECISIVE)

    async def identify(self, headers: Headers, selected: str | None) -> Principal:
        """The principal of a request.

        Args:
            headers: of the request.
            selected: the account that it selects.

        Raises:
            Unauthenticated: the provider does not accept the credentials.
            Unavailable: it gave no answer.
            Forbidden, BadRequest: as `members.find_member`.
        """
        key = _hash_decisive(headers)
        ends, identity = self._kept.get(key, (0.0, None))
        if identity is not None and ends > self._clock():
            return await find_member(self._database, self._engine, identity, selected)
        given = await self._ask(headers)
        identity = self._read(given)
        principal = await find_member(self._database, self._engine, identity, selected)
        await self._principals.keep(principal, given)
        if not given.get("api_key"):
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (self._clock() + KEPT_SECONDS, identity)
        return principal

    async def _ask(self, headers: Headers) -> dict[str, Any]:
        passed_on = [
            (name.lower(), value) for name, value in headers.items() if name.lower() not in self._not_passed_on
        ]
        try:
            async with spend(self._seconds):
                response = await self._http.post(self._url, headers=passed_on)
        except (httpx.HTTPError, TimeoutError) as error:
            raise _no_answer(repr(error)) from error
        if response.status_code in (401, 403) and "x-service-account-auth-error" not in response.headers:
            raise Unauthenticated("The auth provider does not accept this credential.")
        try:
            given = orjson.loads(response.content) if response.status_code == 200 else None
        except orjson.JSONDecodeError:
            given = None
        if not isinstance(given, dict):
            raise _no_answer(f"status {response.status_code}")
        return given

    def _read(self, given: Mapping[str, Any]) -> Identity:
        named = [(kind, given[key]) for key, kind in _KINDS if isinstance(given.get(key), str) and given[key]]
        if len(named) != 1 or len(named[0][1]) > LONGEST_NAME:
            raise Unauthenticated("The auth provider names neither one user nor one service account.")
        kind, name = named[0]
        accounts = [given.get("account_id"), given.get("account_name")]
        tenants = tuple(one for one in accounts if isinstance(one, str) and one)
        if not tenants and self._default_tenant:
            tenants = (self._default_tenant,)
        shown = given.get("name")
        return Identity(
            issuer=ISSUER,
            kind=kind,
            name=name,
            tenants=tenants,
            joined=False,
            role="member",
            display_name=shown if isinstance(shown, str) else None,
        )


def _hash_decisive(headers: Headers) -> bytes:
    decisive = sorted(
        (name.lower(), value) for name, value in headers.items() if any(part in name.lower() for part in _DECISIVE)
    )
    return hashlib.sha256(orjson.dumps(decisive)).digest()


def _no_answer(cause: str) -> Unavailable:
    log.warning("the auth provider did not say who is calling", cause=cause)
    return Unavailable("The auth provider cannot be asked who is calling; try again.")
