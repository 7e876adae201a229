"""Whose credentials a caller passes on.

Callers keep the answer for a minute under the headers that they think matter: those whose name contains
`authorization`, `cookie`, `x-auth`, `x-api-key`, `x-session`, `x-selected-account-id` or `x-user-id`. Two requests that
differ in any other header share one answer, so no other header is looked at here, `x-agent-api-key` least of all.
"""

from starlette.datastructures import Headers

from remit.authz.engine import Engine
from remit.db.pool import Database
from remit.errors import BadRequest, Forbidden, Unauthenticated
from remit.identity.authenticate import find_principal
from remit.identity.bearer_tokens import TokenVerifier, is_token
from remit.identity.members import ACCOUNT_HEADER, find_member
from remit.identity.principal import Principal


async def authenticate_headers(
    database: Database, engine: Engine, tokens: TokenVerifier | None, headers: Headers
) -> Principal:
    """The principal of `Authorization: Bearer` or `x-api-key`: an API key, or a token of an identity provider.

    No header that names an identity is believed. The contract knows one refusal here, so what else is wrong with a
    credential is told as 401 too.

    Raises:
        Unauthenticated: no good credential, two of different principals, or one of another account than selected.
        Unavailable: the keys of an identity provider cannot be fetched.
    """
    selected = headers.getlist(ACCOUNT_HEADER)
    if len(set(selected)) > 1:
        raise Unauthenticated(f"The header {ACCOUNT_HEADER} names more than one account.")
    found: list[Principal] = []
    for secret in _read_secrets(headers):
        if tokens is not None and is_token(secret):
            identity = await tokens.verify(secret)
            try:
                found.append(await find_member(database, engine, identity, selected[0] if selected else None))
            except (Forbidden, BadRequest) as error:
                raise Unauthenticated(error.message) from error
            continue
        principal = await find_principal(database, secret)
        if principal is None:
            raise Unauthenticated("The API key is unknown, expired or revoked.")
        found.append(principal)
    if not found:
        raise Unauthenticated("No credential was sent. Send an API key as `Authorization: Bearer <key>`.")
    principal = found[0]
    if any((other.kind, other.id) != (principal.kind, principal.id) for other in found):
        raise Unauthenticated("The request carries credentials of two different principals; send one of them.")
    for account in selected:
        # It selects among the accounts of the credential, and an API key has one.
        if account not in (principal.tenant_id, principal.tenant_name):
            raise Unauthenticated("The credential does not belong to the selected account.")
    return principal


def _read_secrets(headers: Headers) -> list[str]:
    secrets = [value.strip() for value in headers.getlist("x-api-key")]
    for value in headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Send an API key as `Authorization: Bearer <key>`.")
        secrets.append(token.strip())
    return list(dict.fromkeys(secret for secret in secrets if secret))
