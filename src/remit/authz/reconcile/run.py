"""One run of a reconciliation: type by type, batch by batch, repaired where asked, gone on with after a kill."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from remit.authz.model import Relationship, Resource
from remit.authz.modes import TYPES
from remit.authz.postgres import PostgresEngine
from remit.authz.reconcile.elsewhere import Gap, Projections
from remit.authz.reconcile.findings import HARMLESS, REPORTED_ONLY, Finding
from remit.authz.reconcile.rows import (
    KINDS,
    RowKind,
    compare_row,
    read_dangling,
    read_relationships,
    read_row,
    read_rows,
    read_subject_tenants,
)
from remit.authz.reconciliations import record_reconciliation
from remit.authz.remote import NotOffered
from remit.db.pool import Database
from remit.ids import NIL_ID

BATCH: Final = 500
MOST_SAMPLES: Final = 1000
PRUNED_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do.

    Attributes:
        apply: repair what may be repaired.
        prune: most resources whose dangling relationships are removed; 0 removes none.
        rate: most resources compared in a second.
        actor: who, for the history.
    """

    apply: bool = False
    prune: int = 0
    rate: int = 5_000
    actor: str = "reconcile"


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
    def left(self) -> int:
        """How much disagrees still."""
        return self.drift - sum(self.repaired.values())


class Run:
    """A reconciliation.

    Args:
        database: rows and local relationships.
        engine: of the relationships.
        projections: of an engine elsewhere, None where there is none.
        plan: what to do.
        on_progress: called with how many more resources have been compared.
    """

    def __init__(
        self,
        database: Database,
        engine: PostgresEngine,
        projections: Projections | None,
        plan: Plan,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._engine = engine
        self._projections = projections
        self._plan = plan
        self._on_progress = on_progress
        self._pruned = 0
        self.samples: list[Finding] = []

    async def reconcile(self, tenant_id: str, tenant: str, resource_type: str) -> TypeReport:
        """Compare one type of a tenant; a run of the same kind that was killed is gone on with.

        Raises:
            RemoteError: the engine elsewhere gave no answer.
        """
        if resource_type == "tenant":
            return await self._reconcile_shared(tenant_id, tenant)
        if resource_type not in KINDS:
            return await self._reconcile_nothing(tenant_id, tenant, resource_type)
        kind = KINDS[resource_type]
        async with self._database.connection() as connection:
            registers = await self._registers(connection, tenant_id, resource_type)
            after, report = await self._resume(connection, tenant_id, tenant, resource_type, registers)
        began, done_before = time.monotonic(), report.compared
        async for rows in self._batches(kind, tenant_id, after):
            await self._compare_batch(kind, report, rows)
            async with self._database.connection() as connection:
                await self._remember(connection, report, rows[-1]["id"])
            self._on_progress(len(rows))
            ahead = (report.compared - done_before) / self._plan.rate - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)
        await self._compare_dangling(kind, report)
        async with self._database.transaction() as connection:
            await connection.execute(
                "DELETE FROM authz_reconciling WHERE tenant_id = $1 AND resource_type = $2 AND apply = $3",
                tenant_id,
                resource_type,
                self._plan.apply,
            )
            if report.readable and registers:
                await record_reconciliation(
                    connection, tenant_id, resource_type, started_at=report.started_at, clean=report.drift == 0
                )
        return report

    async def _reconcile_shared(self, tenant_id: str, tenant: str) -> TypeReport:
        """What all of a tenant share: its own relationships and those of its groups, which have no rows to follow."""
        async with self._database.connection() as connection:
            registers = await self._registers(connection, tenant_id, "tenant")
            groups = await connection.fetch("SELECT id::text AS id FROM groups WHERE tenant_id = $1", tenant_id)
            started_at = await connection.fetchval("SELECT now()")
        report = TypeReport(tenant_id, tenant, "tenant", registers, started_at)
        for resources in ([Resource("tenant", tenant_id)], [Resource("group", row["id"]) for row in groups]):
            for first in range(0, len(resources), BATCH):
                batch = resources[first : first + BATCH]
                async with self._database.connection() as connection:
                    local = {one: await self._engine.read(connection, one) for one in batch}
                await self._compare_elsewhere(report, local)
                report.compared += len(batch)
                self._on_progress(len(batch))
        if report.readable:
            async with self._database.connection() as connection:
                await record_reconciliation(
                    connection, tenant_id, "tenant", started_at=started_at, clean=report.drift == 0
                )
        return report

    async def _reconcile_nothing(self, tenant_id: str, tenant: str, resource_type: str) -> TypeReport:
        """A type whose resources this release does not have: there is nothing that could disagree."""
        async with self._database.connection() as connection:
            registers = await self._registers(connection, tenant_id, resource_type)
            now = await connection.fetchval("SELECT now()")
            if registers:
                await record_reconciliation(connection, tenant_id, resource_type, started_at=now, clean=True)
        return TypeReport(tenant_id, tenant, resource_type, registers, now)

    async def _batches(self, kind: RowKind, tenant_id: str, after: str) -> AsyncIterator[list[Any]]:
        while True:
            async with self._database.connection() as connection:
                rows = await read_rows(connection, kind, tenant_id, after, BATCH)
            if not rows:
                return
            yield rows
            after = rows[-1]["id"]

    async def _compare_batch(self, kind: RowKind, report: TypeReport, rows: Sequence[Any]) -> None:
        ids = [row["id"] for row in rows]
        async with self._database.connection() as connection:
            local = await read_relationships(connection, self._engine, kind.type, ids)
            tenants = await read_subject_tenants(connection, [one for found in local.values() for one in found])
        broken: set[Resource] = set()
        for row in rows:
            findings = self._compare_row(kind, report, row, local.get(row["id"], []), tenants)
            if any(one.is_drift for one in findings):
                # Rows and relationships were read one after the other: a seeming drift is looked at under a lock.
                findings = await self._look_again(kind, report, row["id"])
                broken.add(Resource(kind.type, row["id"]))
            for finding in findings:
                self._note(report, finding)
        report.compared += len(rows)
        await self._compare_elsewhere(
            report, {Resource(kind.type, id): local.get(id, []) for id in ids if Resource(kind.type, id) not in broken}
        )

    def _compare_row(
        self, kind: RowKind, report: TypeReport, row: Any, there: list[Relationship], tenants: dict[str, str]
    ) -> list[Finding]:
        found = compare_row(kind, report.tenant_id, row, there, tenants)
        return found if report.registers else [one for one in found if one.kind != "unregistered"]

    async def _look_again(self, kind: RowKind, report: TypeReport, id: str) -> list[Finding]:
        async with self._database.transaction() as connection:
            row = await read_row(connection, kind, id)
            if row is None:
                return []
            there = (await read_relationships(connection, self._engine, kind.type, [id])).get(id, [])
            tenants = await read_subject_tenants(connection, there)
            findings = self._compare_row(kind, report, row, there, tenants)
            repairs = [one for one in findings if one.touch and self._plan.apply]
            if repairs:
                touch = [fact for one in repairs for fact in one.touch]
                await self._engine.write(connection, touch=touch, actor=self._plan.actor)
        report.repaired.update(one.kind for one in repairs)
        return findings

    async def _compare_elsewhere(self, report: TypeReport, local: dict[Resource, list[Relationship]]) -> None:
        if self._projections is None or not local or not report.readable:
            return
        try:
            pending, gaps = await self._find_gaps(self._projections, local)
            suspects = [resource for resource, gap in gaps.items() if gap.missing or gap.beyond]
            if suspects:
                # A change may have been made and delivered between the two readings: a second look tells.
                async with self._database.connection() as connection:
                    fresh = {one: await self._engine.read(connection, one) for one in suspects}
                more, again = await self._find_gaps(self._projections, fresh)
                pending |= more
                gaps = {**{one: gap for one, gap in gaps.items() if one not in fresh}, **again}
        except NotOffered:
            report.readable = False
            return
        for resource in pending:
            self._note(report, Finding("pending", resource))
        for resource, gap in gaps.items():
            findings = gap.findings(resource)
            for finding in findings:
                self._note(report, finding)
            drift = [finding for finding in findings if finding.is_drift]
            if drift and self._plan.apply and await self._projections.repair(resource):
                report.repaired.update(finding.kind for finding in drift)

    async def _find_gaps(
        self, projections: Projections, local: dict[Resource, list[Relationship]]
    ) -> tuple[set[Resource], dict[Resource, Gap]]:
        held = await projections.read(list(local))
        async with self._database.connection() as connection:
            pending = await projections.find_pending(connection, list(local))
            gaps = {
                resource: await projections.compare(connection, resource, facts, held[resource])
                for resource, facts in local.items()
                if resource not in pending
            }
        return pending, gaps

    async def _compare_dangling(self, kind: RowKind, report: TypeReport) -> None:
        after = NIL_ID
        while True:
            async with self._database.connection() as connection:
                ids = await read_dangling(connection, self._engine, kind, report.tenant_id, after, PRUNED_AT_ONCE)
            if not ids:
                return
            for id in ids:
                resource = Resource(kind.type, id)
                self._note(report, Finding("dangling", resource))
                if self._plan.apply and self._pruned < self._plan.prune:
                    async with self._database.transaction() as connection:
                        await self._engine.remove_all(connection, resource, actor=self._plan.actor)
                    self._pruned += 1
                    report.repaired["dangling"] += 1
            after = ids[-1]

    def _note(self, report: TypeReport, finding: Finding) -> None:
        report.found[finding.kind] += 1
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(finding)

    async def _registers(self, connection: Any, tenant_id: str, resource_type: str) -> bool:
        from remit.authz.mode_moves import read_rulings

        if resource_type not in TYPES:
            return True
        rulings = await read_rulings(connection, self._engine.mode_policy, tenant_id)
        return rulings[resource_type].registers

    async def _resume(
        self, connection: Any, tenant_id: str, tenant: str, resource_type: str, registers: bool
    ) -> tuple[str, TypeReport]:
        row = await connection.fetchrow(
            "INSERT INTO authz_reconciling AS r (tenant_id, resource_type, apply, cursor, report)"
            " VALUES ($1, $2, $3, $4, '{}')"
            " ON CONFLICT (tenant_id, resource_type, apply) DO UPDATE SET cursor = r.cursor"
            " RETURNING cursor::text AS cursor, report, started_at",
            tenant_id,
            resource_type,
            self._plan.apply,
            NIL_ID,
        )
        report = TypeReport(tenant_id, tenant, resource_type, registers, row["started_at"])
        kept = row["report"]
        report.compared = kept.get("compared", 0)
        report.found.update(kept.get("found", {}))
        report.repaired.update(kept.get("repaired", {}))
        return row["cursor"], report

    async def _remember(self, connection: Any, report: TypeReport, cursor: str) -> None:
        await connection.execute(
            "UPDATE authz_reconciling SET cursor = $4, report = $5"
            " WHERE tenant_id = $1 AND resource_type = $2 AND apply = $3",
            report.tenant_id,
            report.resource_type,
            self._plan.apply,
            cursor,
            {"compared": report.compared, "found": dict(report.found), "repaired": dict(report.repaired)},
        )


def unrepairable(report: TypeReport) -> int:
    """How many findings no run repairs: a person decides."""
    return sum(count for kind, count in report.found.items() if kind in REPORTED_ONLY)
