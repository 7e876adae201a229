"""Who is calling, by the credentials of the request. No header that names an identity is believed."""

from fastapi import Request

from remit.db.pool import Database
from remit.errors import BadRequest, CredentialsDisagree, Unauthenticated
from remit.identity.bearer_tokens import is_token
from remit.identity.members import ACCOUNT_HEADER, check_selected, find_member, is_member_still_good
from remit.identity.presumed import KEYS, Presumption, unknown_key
from remit.identity.principal import Principal
from remit.identity.proxy import read_proxy_identity
from remit.identity.secrets import hash_secret, is_well_formed

# One statement: the key, its holder and tenant, all still good at this moment. The time of last use is
# written at most once a minute, so that a busy key does not turn reads into writes.
_FIND_PRINCIPAL = f"""
WITH found AS (
  SELECT k.id AS key_id, k.tenant_id, n.name AS tenant_name, k.last_used_at,
         coalesce(s.kind, 'agent') AS kind, coalesce(s.id, a.id) AS id, coalesce(s.external_id, a.name) AS name
    FROM {KEYS} k
    JOIN tenants n ON n.id = k.tenant_id AND n.disabled_at IS NULL
    LEFT JOIN subjects s ON s.id = k.subject_id AND s.disabled_at IS NULL
    LEFT JOIN agents a ON a.id = k.agent_id AND a.status <> 'Deleted'
   WHERE k.secret_hash = $1 AND (s.id IS NOT NULL OR a.id IS NOT NULL)
), used AS (
  UPDATE api_keys SET last_used_at = now() FROM found
   WHERE api_keys.id = found.key_id
     AND (found.last_used_at IS NULL OR found.last_used_at < now() - interval '1 minute')
)
SELECT kind, id, tenant_id, tenant_name, name, key_id FROM found
"""


def read_credentials(request: Request) -> list[str]:
    """The secrets that a request carries, each once: bearer token, `x-api-key`, `x-agent-api-key`.

    Raises:
        Unauthenticated: `authorization` is of another scheme, or a header comes twice.
    """
    secrets: dict[str, None] = {}
    for name in ("authorization", "x-api-key", "x-agent-api-key"):
        values = request.headers.getlist(name)
        if len(values) > 1:
            raise Unauthenticated(f"The header {name} comes more than once; send one credential.")
        for value in values:
            secret = _read_bearer(value) if name == "authorization" else value.strip()
            if secret:
                secrets[secret] = None
    return list(secrets)


def _read_bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("Send an API key as `Authorization: Bearer <key>`.")
    return token.strip()


async def find_principal(database: Database, secret: str) -> Principal | None:
    """The holder of a secret, None if the secret is unknown, expired or revoked, or its holder or tenant disabled."""
    if not is_well_formed(secret):
        return None
    async with database.connection() as connection:
        row = await connection.fetchrow(_FIND_PRINCIPAL, hash_secret(secret))
    return Principal(**row) if row else None


_IS_STILL_GOOD = f"""
SELECT EXISTS (
  SELECT FROM {KEYS} k
    JOIN tenants n ON n.id = k.tenant_id AND n.disabled_at IS NULL
    LEFT JOIN subjects s ON s.id = k.subject_id
    LEFT JOIN agents a ON a.id = k.agent_id
   WHERE k.id = $1 AND s.disabled_at IS NULL AND a.status IS DISTINCT FROM 'Deleted')
"""


async def is_still_good(database: Database, principal: Principal) -> bool:
    """Whether what a principal showed would be let in now, for requests that last."""
    if principal.key_id is None:
        return await is_member_still_good(database, principal)
    async with database.connection() as connection:
        good: bool = await connection.fetchval(_IS_STILL_GOOD, principal.key_id)
    return good


def _read_selected(request: Request) -> str | None:
    values = {value.strip() for value in request.headers.getlist(ACCOUNT_HEADER)} - {""}
    if len(values) > 1:
        raise BadRequest(f"The header {ACCOUNT_HEADER} names more than one account.")
    return next(iter(values), None)


async def authenticate_optional(request: Request) -> Principal | None:
    """The principal of a request, None when it carries no credential at all.

    Raises:
        Unauthenticated: a credential is not good.
        CredentialsDisagree: two credentials are good but belong to different principals.
        Forbidden: the header `x-selected-account-id` names an account that is not the principal's.
        Unavailable: the keys of an identity provider cannot be fetched, or an auth provider cannot be asked.
    """
    state = request.app.state
    database: Database = state.database
    selected = _read_selected(request)
    principals = []
    proxy = state.settings.trusted_proxy
    if proxy is not None and (named := read_proxy_identity(request, proxy)) is not None:
        principals.append(await find_member(database, state.engine, named, selected))
    for secret in read_credentials(request):
        if state.tokens is not None and is_token(secret):
            identity = await state.tokens.verify(secret)
            principals.append(await find_member(database, state.engine, identity, selected))
            continue
        principal = await find_principal(database, secret)
        if principal is None and state.authn is not None:
            continue
        if principal is None:
            raise unknown_key()
        state.presumed_keys.note(hash_secret(secret), principal)
        check_selected(principal, selected)
        principals.append(principal)
    if not principals and state.authn is not None and state.authn.finds_credentials(request.headers):
        principals.append(await state.authn.identify(request.headers, selected))
    if len({(principal.kind, principal.id) for principal in principals}) > 1:
        raise CredentialsDisagree("The request carries credentials of two different principals; send one of them.")
    return principals[0] if principals else None


async def authenticate(request: Request) -> Principal:
    """The principal of a request.

    Raises:
        Unauthenticated: there is none.
    """
    principal = await authenticate_optional(request)
    if principal is None:
        raise Unauthenticated("No credential was sent. Send an API key as `Authorization: Bearer <key>`.")
    return principal


def presume(request: Request) -> Presumption | None:
    """What the request's key lets presume: who calls, still to be proven by the statement that answers.

    None for all but one key, seen lately: then `authenticate` says who calls.

    Raises:
        Unauthenticated: as `read_credentials`.
    """
    state = request.app.state
    if state.settings.trusted_proxy is not None or state.authn is not None or ACCOUNT_HEADER in request.headers:
        return None
    secrets = read_credentials(request)
    if len(secrets) != 1 or (state.tokens is not None and is_token(secrets[0])):
        return None
    found: Presumption | None = state.presumed_keys.find(hash_secret(secrets[0]))
    return found
