"""What the provider has at hand, and whether a principal that was passed back still holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from remit.audit import AuditEntry, AuditTrail
from remit.authz.engine import Engine
from remit.authz.model import Resource, Subject
from remit.db.pool import Connection, Database
from remit.errors import Unauthenticated
from remit.identity.authenticate import KEYS
from remit.provider.principals import Claim, derive_key, read_principal
from remit.settings import Settings

# The credential, its holder and its account, all still good at this moment: the caller keeps principals for a minute,
# and with schedules for months, and what has ended must end at once.
_STANDING = f"""
SELECT 1
  FROM {KEYS} k
  JOIN tenants n ON n.id = k.tenant_id AND n.disabled_at IS NULL
  LEFT JOIN subjects s ON s.id = k.subject_id AND s.disabled_at IS NULL
  LEFT JOIN agents a ON a.id = k.agent_id AND a.status <> 'Deleted'
 WHERE k.id = $1 AND k.tenant_id = $2 AND coalesce(s.id, a.id) = $3
   AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
"""


@dataclass(frozen=True, slots=True)
class Provider:
    """The parts of a running provider."""

    settings: Settings
    database: Database
    engine: Engine
    audit: AuditTrail
    key: bytes

    @classmethod
    def of(cls, request: Request) -> "Provider":
        """The provider that a request came to."""
        state = request.app.state
        secret = state.settings.secret_key
        assert secret is not None, "the application is not made without it"
        key = derive_key(secret.get_secret_value())
        return cls(state.settings, state.database, state.engine, state.audit, key)


@dataclass(frozen=True, slots=True)
class Asker:
    """A principal that stands, within one request.

    Attributes:
        provider: the parts.
        connection: in a transaction.
        subject: who asks.
        account_id: in which account.
        request_id: the request.
    """

    provider: Provider
    connection: Connection
    subject: Subject
    account_id: str
    request_id: str

    @property
    def tenant(self) -> Resource:
        """The account as a resource."""
        return Resource("tenant", self.account_id)

    def refused(self, action: str, resource: Resource) -> None:
        """Record that something was refused to this principal."""
        self.provider.audit.record(
            AuditEntry(
                tenant_id=self.account_id,
                actor_type=self.subject.type,
                actor_id=self.subject.id,
                action=action,
                outcome="denied",
                resource_type=resource.type,
                resource_id=resource.id,
                request_id=self.request_id,
            )
        )


@asynccontextmanager
async def admit(request: Request, principal: Any) -> AsyncIterator[Asker]:
    """The asker of a principal, in a transaction of the request's own.

    Raises:
        Unauthenticated: the principal is not ours, or its credential, holder or account has ended.
    """
    provider = Provider.of(request)
    claim = read_principal(provider.key, principal)
    async with provider.database.transaction() as connection:
        if await connection.fetchval(_STANDING, *_key_of(claim)) is None:
            raise Unauthenticated("The credential behind this principal has ended. Sign in again.")
        yield Asker(provider, connection, claim.subject, claim.account_id, request.state.request_id)


def _key_of(claim: Claim) -> tuple[str, str, str]:
    return claim.credential_id, claim.account_id, claim.subject.id
