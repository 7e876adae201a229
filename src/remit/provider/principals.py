"""The principal that authentication hands out, and that callers pass back in a body.

Whoever can reach the provider could write a principal, so each carries a MAC (HMAC-SHA256) over all its other members:
changed, added or missing ones are refused alike. It names the API key that was shown, so that every later question asks
whether that key, its holder and its account are still good. Such a principal has no end of its own unless
`REMIT_AUTH_PRINCIPAL_LIFETIME` gives it one: servers keep principals with their schedules. The principal of an identity
provider's token ends with the token, which nobody can ask about later.
"""

import base64
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from remit.authz.model import Subject
from remit.errors import Unauthenticated
from remit.identity.principal import Principal

SHORTEST_SECRET = 32
_VERSION = "v1"
_PURPOSE = b"remit principal v1"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a principal says once its MAC is right; whether it still holds is for the database to say.

    Attributes:
        subject: who, as the graph knows him.
        account_id: the tenant.
        credential_id: the API key that was shown, None where it was a token.
    """

    subject: Subject
    account_id: str
    credential_id: str | None


def derive_key(secret: str) -> bytes:
    """The MAC's key, derived (HKDF, RFC 5869) so that no other use of `REMIT_SECRET_KEY` can make a principal."""
    return HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(secret.encode())


def issue_principal(
    key: bytes, principal: Principal, *, lifetime: timedelta | None, now: datetime | None = None
) -> dict[str, str]:
    """The JSON object for a principal.

    Args:
        key: of `derive_key`.
        principal: who was authenticated.
        lifetime: after which it is refused; None for as long as what was shown.
        now: the moment of issue.
    """
    assert principal.key_id is not None or principal.expires_at is not None, "a token ends by itself"
    now = now or datetime.now(UTC)
    body = {
        "principal_type": principal.kind,
        f"{principal.kind}_id": principal.id,
        "account_id": principal.tenant_id,
        "account_name": principal.tenant_name,
        "name": principal.name,
        "issued_at": now.isoformat(timespec="seconds"),
    }
    if principal.key_id is not None:
        body["credential_id"] = principal.key_id
    ends = [end for end in (principal.expires_at, now + lifetime if lifetime is not None else None) if end is not None]
    if ends:
        body["expires_at"] = min(ends).isoformat(timespec="seconds")
    return {**body, "mac": _mac(key, body)}


def read_principal(key: bytes, value: Any, now: datetime | None = None) -> Claim:
    """What a principal of ours says.

    Args:
        key: of `derive_key`.
        value: what the caller passed back.
        now: the moment to compare its end with.

    Raises:
        Unauthenticated: this key did not make it, or it has ended.
    """
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _unknown()
    body = {name: item for name, item in value.items() if name != "mac"}
    try:
        right = hmac.compare_digest(_mac(key, body).encode(), value.get("mac", "").encode())
    except UnicodeEncodeError:  # a lone surrogate, which no principal of ours has
        raise _unknown() from None
    if not right:
        raise _unknown()
    ends = body.get("expires_at")
    if ends is not None and datetime.fromisoformat(ends) <= (now or datetime.now(UTC)):
        raise Unauthenticated("This principal has expired. Sign in again.")
    kind = body["principal_type"]
    return Claim(Subject(kind, body[f"{kind}_id"]), body["account_id"], body.get("credential_id"))


def _mac(key: bytes, body: dict[str, str]) -> str:
    # Callers parse and write the object again: the order and the spaces are theirs, so the MAC has its own.
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    digest = hmac.digest(key, f"{_VERSION}\n{text}".encode(), "sha256")
    return f"{_VERSION}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _unknown() -> Unauthenticated:
    return Unauthenticated("The principal is not one that this provider handed out.")
