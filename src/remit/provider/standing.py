"""What the provider has at hand, and whether a principal that was passed back still holds."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from remit.audit import AuditEntry, AuditTrail
from remit.authz.delivery import Deliverer
from remit.authz.model import Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.remote import Remote
from remit.db.pool import Connection, Database
from remit.errors import Unauthenticated
from remit.identity.presumed import KEYS
from remit.provider.flags import Flags, flags_of
from remit.provider.principals import read_principal
from remit.settings import Settings

# The credential, its holder and its account, all still good at this moment, and the account's flags: the caller keeps
# principals for a minute, and with schedules for months, and what has ended must end at once.
_STANDING = f"""
SELECT coalesce(s.external_id, a.name) AS name, f.check_backend, f.dual_write, f.updated_at
  FROM {KEYS} k
  JOIN tenants n ON n.id = k.tenant_id AND n.disabled_at IS NULL
  LEFT JOIN subjects s ON s.id = k.subject_id AND s.disabled_at IS NULL
  LEFT JOIN agents a ON a.id = k.agent_id AND a.status <> 'Deleted'
  LEFT JOIN account_flags f ON f.tenant_id = k.tenant_id
 WHERE k.id = $1 AND k.tenant_id = $2 AND coalesce(s.id, a.id) = $3
"""

# As above for a principal of a token: its end is in the principal itself.
_STANDING_WITHOUT_KEY = """
SELECT s.external_id AS name, f.check_backend, f.dual_write, f.updated_at
  FROM subjects s
  JOIN tenants n ON n.id = s.tenant_id AND n.disabled_at IS NULL
  LEFT JOIN account_flags f ON f.tenant_id = s.tenant_id
 WHERE s.tenant_id = $1 AND s.id = $2 AND s.disabled_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Provider:
    """The parts of a running provider.

    Attributes:
        settings: of the process.
        database: where relationships, accounts and credentials are.
        engine: the embedded engine.
        audit: where refusals are recorded.
        key: makes and proves principals.
        remotes: engines elsewhere, by the name that flags have for them.
        deliverer: keeps the projection in SpiceDB, None where there is none.
        default_flags: of accounts that have none.
    """

    settings: Settings
    database: Database
    engine: PostgresEngine
    audit: AuditTrail
    key: bytes
    remotes: Mapping[str, Remote]
    deliverer: Deliverer | None
    default_flags: Flags

    @classmethod
    def of(cls, request: Request) -> "Provider":
        """The provider that a request came to."""
        provider: Provider = request.app.state.provider
        return provider


@dataclass(frozen=True, slots=True)
class Asker:
    """A principal that stands, within one request.

    Attributes:
        provider: the parts.
        connection: in a transaction.
        subject: who asks.
        name: what people call him: the external id of a subject, the name of an agent.
        account_id: in which account.
        flags: how the account is routed.
        request_id: the request.
    """

    provider: Provider
    connection: Connection
    subject: Subject
    name: str
    account_id: str
    flags: Flags
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
        if claim.credential_id is None:
            row = await connection.fetchrow(_STANDING_WITHOUT_KEY, claim.account_id, claim.subject.id)
        else:
            row = await connection.fetchrow(_STANDING, claim.credential_id, claim.account_id, claim.subject.id)
        if row is None:
            raise Unauthenticated("The credential behind this principal has ended. Sign in again.")
        flags = provider.default_flags
        if row["check_backend"] is not None:
            flags = flags_of(row["check_backend"], row["dual_write"], row["updated_at"])
        yield Asker(provider, connection, claim.subject, row["name"], claim.account_id, flags, request.state.request_id)
