"""What a run is to do, what it has found, and the memory that lets one that was killed go on."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from remit.authz.engine import Connection
from remit.authz.reconcile.findings import HARMLESS
from remit.authz.reconcile.pace import DEFAULT_RATE
from remit.authz.reconciliations import record_reconciliation
from remit.ids import NIL_ID


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do.

    Attributes:
        apply: repair what may be repaired.
        prune: most resources whose dangling relationships are removed; 0 removes none.
        rate: most resources compared in a second.
        actor: who, for the history.
        whole: everything is compared, so that a clean run counts for the rollout; a backfill looks at rows alone.
    """

    apply: bool = False
    prune: int = 0
    rate: int = DEFAULT_RATE
    actor: str = "reconcile"
    whole: bool = True


@dataclass(slots=True)
class TypeReport:
    """What a run found of one type of one tenant.

    Attributes:
        tenant_id: the tenant.
        tenant: its name.
        resource_type: the type.
        registers: whether the tenant's mode registers resources of the type; where not, missing ones are no drift.
        compared: rows.
        found: how many findings of each class.
        repaired: how many of them were repaired.
        started_at: when.
        readable: whether the engine elsewhere could be read; True where there is none.
    """

    tenant_id: str
    tenant: str
    resource_type: str
    registers: bool
    started_at: datetime
    compared: int = 0
    found: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    readable: bool = True

    @property
    def drift(self) -> int:
        """How much disagreed when it was looked at, repaired or not."""
        return sum(count for kind, count in self.found.items() if kind not in HARMLESS)

    @property
    def left_by_class(self) -> dict[str, int]:
        """What disagrees still, class by class."""
        left = {kind: count - self.repaired[kind] for kind, count in self.found.items() if kind not in HARMLESS}
        return {kind: count for kind, count in left.items() if count}

    @property
    def left(self) -> int:
        """How much disagrees still."""
        return self.drift - sum(self.repaired.values())


async def resume(
    connection: Connection, tenant_id: str, tenant: str, resource_type: str, *, registers: bool, apply: bool
) -> tuple[str, TypeReport]:
    """Begin, or go on with a run of the same kind that was killed; return after which id, and what it had found."""
    row = await connection.fetchrow(
        "INSERT INTO authz_reconciling AS r (tenant_id, resource_type, apply, cursor, report)"
        " VALUES ($1, $2, $3, $4, '{}')"
        " ON CONFLICT (tenant_id, resource_type, apply) DO UPDATE SET cursor = r.cursor"
        " RETURNING cursor::text AS cursor, report, started_at",
        tenant_id,
        resource_type,
        apply,
        NIL_ID,
    )
    assert row is not None, "it was written or there"
    kept = row["report"]
    report = TypeReport(tenant_id, tenant, resource_type, registers, row["started_at"])
    report.compared = kept.get("compared", 0)
    report.found.update(kept.get("found", {}))
    report.repaired.update(kept.get("repaired", {}))
    return row["cursor"], report


async def remember(connection: Connection, report: TypeReport, cursor: str, *, apply: bool) -> None:
    """Keep how far a run is, in the caller's transaction. One that a crash loses is compared again."""
    await connection.execute("SET LOCAL synchronous_commit = off")
    await connection.execute(
        "UPDATE authz_reconciling SET cursor = $4, report = $5"
        " WHERE tenant_id = $1 AND resource_type = $2 AND apply = $3",
        report.tenant_id,
        report.resource_type,
        apply,
        cursor,
        {"compared": report.compared, "found": dict(report.found), "repaired": dict(report.repaired)},
    )


async def finish(connection: Connection, report: TypeReport, plan: Plan) -> None:
    """Record the outcome of a run, in the caller's transaction: steps forward in the rollout wait for clean ones."""
    await connection.execute(
        "DELETE FROM authz_reconciling WHERE tenant_id = $1 AND resource_type = $2 AND apply = $3",
        report.tenant_id,
        report.resource_type,
        plan.apply,
    )
    if plan.whole and report.readable and report.registers:
        await record_reconciliation(
            connection,
            report.tenant_id,
            report.resource_type,
            started_at=report.started_at,
            clean=report.drift == 0,
            drift=report.left_by_class,
        )
