"""Bearer tokens of identity providers (JWT, RFC 7519): whose they are, once everything about them is right."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt

from remit.errors import Unauthenticated
from remit.identity.key_set import KeySet
from remit.identity.subjects import LONGEST_NAME, SubjectKind, TenantRole
from remit.settings import IdentityProvider

LONGEST_TOKEN = 16 * 1024
MOST_TENANTS = 100


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is outside of Remit.

    Attributes:
        issuer: who says so: names of two issuers are never the same subject.
        kind: `user` or `service_account`.
        name: what the issuer calls him.
        tenants: ids or names of the tenants that he belongs to.
        joined: whether tenants that know him already count as well, for issuers that name one tenant for all.
        role: what he becomes in a tenant that sees him first; None for nothing.
        display_name: for people to read.
        expires_at: when this ends.
    """

    issuer: str
    kind: SubjectKind
    name: str
    tenants: tuple[str, ...]
    joined: bool
    role: TenantRole | None
    display_name: str | None = None
    expires_at: datetime | None = None


def is_token(secret: str) -> bool:
    """Whether a bearer secret has the form of a signed JWT; no API key has."""
    return secret.count(".") == 2 and secret.startswith("ey")


class TokenVerifier:
    """Verifies tokens of the configured providers, each with that provider's own keys, audience and algorithms."""

    def __init__(self, providers: list[IdentityProvider], http: httpx.AsyncClient) -> None:
        self._providers = {provider.issuer: (provider, KeySet(provider, http)) for provider in providers}

    @classmethod
    def open(cls, providers: list[IdentityProvider], http: httpx.AsyncClient) -> "TokenVerifier | None":
        """The verifier of these providers, None where there are none: no bearer secret is a token then."""
        return cls(providers, http) if providers else None

    async def verify(self, token: str) -> Identity:
        """Whose a token is.

        Raises:
            Unauthenticated: it is not good.
            Unavailable: the provider's keys cannot be fetched.
        """
        if len(token) > LONGEST_TOKEN:
            raise _refuse("is too long")
        try:
            header = jwt.get_unverified_header(token)
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _refuse("cannot be read") from error
        known = self._providers.get(issuer) if isinstance(issuer, str) else None
        if known is None:
            raise _refuse("is of an issuer that this server does not know")
        provider, keys = known
        algorithm, kid = header.get("alg"), header.get("kid")
        # The provider's own list decides, never the token: neither `none` nor a MAC made with a public key gets by.
        if algorithm not in provider.algorithms or "crit" in header or not isinstance(kid, str | None):
            raise _refuse("is not signed as its issuer signs")
        key = await keys.find(kid, algorithm)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=provider.audience,
                issuer=provider.issuer,
                leeway=provider.leeway_seconds,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise _refuse("has expired") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _refuse("is not good here") from error
        return _read_claims(provider, claims)


def _read_claims(provider: IdentityProvider, claims: dict[str, Any]) -> Identity:
    name = claims.get(provider.subject_claim)
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise _refuse(f"has no usable claim `{provider.subject_claim}`")
    if provider.tenant_claim is None:
        tenants = [provider.tenant]
    else:
        value = claims.get(provider.tenant_claim)
        tenants = value if isinstance(value, list) else [value]
    marks = provider.service_account_claims
    display = claims.get(provider.display_name_claim)
    return Identity(
        issuer=provider.issuer,
        kind="service_account" if marks and all(claims.get(k) == v for k, v in marks.items()) else "user",
        name=name,
        tenants=tuple(one for one in tenants[:MOST_TENANTS] if isinstance(one, str) and "\x00" not in one),
        joined=provider.tenant_claim is None,
        role=provider.role,
        display_name=display if isinstance(display, str) and display.isprintable() and display.strip() else None,
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _refuse(reason: str) -> Unauthenticated:
    return Unauthenticated(f"The bearer token {reason}.")
