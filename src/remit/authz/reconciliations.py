"""The record of finished reconciliations: steps forward in the rollout wait for it, and gauges tell it."""

from collections.abc import Mapping
from datetime import datetime

from remit.db.pool import Connection
from remit.ids import new_id


async def record_reconciliation(
    connection: Connection,
    tenant_id: str,
    resource_type: str,
    *,
    started_at: datetime,
    clean: bool,
    drift: Mapping[str, int] | None = None,
) -> None:
    """Keep the outcome of a reconciliation that has compared every resource of a type of a tenant.

    Args:
        connection: with or without a transaction.
        tenant_id: the tenant.
        resource_type: the type.
        started_at: when the comparison began.
        clean: it found no drift, and had nothing to repair.
        drift: how many differences of each class are left.
    """
    await connection.execute(
        "INSERT INTO authz_reconciliations (id, tenant_id, resource_type, started_at, clean, drift) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        new_id(),
        tenant_id,
        resource_type,
        started_at,
        clean,
        dict(drift or {}),
    )
