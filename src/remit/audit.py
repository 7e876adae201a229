"""The audit trail: who did, or was refused, what.

What changes something is written in the change's own transaction (`write_audit`). Refusals are written just after
the answer (`AuditTrail.record`), so that a refused request runs the very statements of one that finds nothing.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from remit.db.pool import Connection, Database
from remit.errors import Unavailable
from remit.ids import new_id
from remit.telemetry.metrics import AUDIT_LOST

log = structlog.get_logger(__name__)

MOST_WAITING = 10_000
RETRY_SECONDS = 1.0

_INSERT = """
INSERT INTO audit (id, tenant_id, actor_type, actor_id, action, outcome, resource_type, resource_id, request_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the trail.

    Attributes:
        tenant_id: the tenant it belongs to: the actor's.
        actor_type: `user`, `service_account`, `agent`, or `operator` for the command line.
        actor_id: the subject's or agent's id; None for the operator.
        action: what was done or asked, `task.share`, `key.create`, `agent.enroll`, `task.cancel` ….
        outcome: `done` or `denied`; `other_tenant` for a denial that concerns another tenant's resource.
        resource_type: type of the resource.
        resource_id: its id.
        request_id: the request it happened in.
        detail: what else an auditor needs; never a secret.
    """

    tenant_id: str | None
    actor_type: str
    actor_id: str | None
    action: str
    outcome: str
    resource_type: str | None = None
    resource_id: str | None = None
    request_id: str | None = None
    detail: dict[str, Any] | None = None

    def values(self) -> tuple[Any, ...]:
        """The row's columns, with an id of its own."""
        return (
            new_id(),
            self.tenant_id,
            self.actor_type,
            self.actor_id,
            self.action,
            self.outcome,
            self.resource_type,
            self.resource_id,
            self.request_id,
            self.detail,
        )


async def write_audit(connection: Connection, entry: AuditEntry) -> None:
    """Write an entry in the caller's transaction: it stays if and only if the change does."""
    await connection.execute(_INSERT, *entry.values())


class AuditTrail:
    """Writes the entries of refused requests in the background, in batches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[AuditEntry] = []
        self._wake = asyncio.Event()

    def record(self, entry: AuditEntry) -> None:
        """Queue an entry. Past `MOST_WAITING`, with the database away, the oldest are counted as lost and logged."""
        if len(self._waiting) >= MOST_WAITING:
            lost = self._waiting.pop(0)
            AUDIT_LOST.inc()
            log.error("audit entry lost", action=lost.action, outcome=lost.outcome, resource_id=lost.resource_id)
        self._waiting.append(entry)
        self._wake.set()

    async def run(self) -> None:
        """Write what is queued until cancelled; what is left then is written first."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._flush()
        finally:
            await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            async with self._database.transaction() as connection:
                await connection.executemany(_INSERT, [entry.values() for entry in batch])
        except BaseException as error:
            # Nothing is lost while the process lives: not to a database that is away or refuses, nor to a shutdown.
            self._waiting = batch + self._waiting
            if not isinstance(error, Unavailable | asyncpg.PostgresError | asyncpg.InterfaceError | OSError):
                raise
            log.warning("audit entries wait: they cannot be written", waiting=len(self._waiting), cause=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
            self._wake.set()
