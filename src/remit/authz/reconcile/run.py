"""One run of a reconciliation: type by type, batch by batch, repaired where asked, gone on with after a kill."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from remit.authz.mode_moves import read_rulings
from remit.authz.model import Relationship, Resource
from remit.authz.modes import TYPES
from remit.authz.postgres import PostgresEngine
from remit.authz.reconcile.elsewhere import Held, Projections
from remit.authz.reconcile.findings import Finding
from remit.authz.reconcile.pace import LARGEST, Pace
from remit.authz.reconcile.reports import Plan, TypeReport, finish, remember, resume
from remit.authz.reconcile.rows import (
    KINDS,
    RowKind,
    compare_row,
    count_rows,
    lock_rows,
    read_dangling,
    read_relationships,
    read_rows,
    read_subject_tenants,
)
from remit.authz.reconcile.scan import PASSED_OVER_FOR_ONE, Scan
from remit.authz.remote import NotOffered
from remit.db.pool import Connection, Database
from remit.ids import LAST_ID

# Rows that are repaired in one transaction, which keeps them from being changed meanwhile.
LOCKED_AT_ONCE: Final = 100
# So old may be a change that its own request is still delivering.
UNDER_WAY: Final = timedelta(seconds=5)
MOST_SAMPLES: Final = 1000
PRUNED_AT_ONCE: Final = 100


async def count_compared(connection: Connection, tenant_ids: Sequence[str], types: Sequence[str]) -> int:
    """How many resources of some tenants there are for a run to compare, deleted ones counted in."""
    tables = {"tenant": "groups", **{name: kind.table for name, kind in KINDS.items()}}
    total = len(tenant_ids) if "tenant" in types else 0
    for name in tables.keys() & set(types):
        total += await connection.fetchval(
            f"SELECT count(*) FROM {tables[name]} WHERE tenant_id = ANY ($1::uuid[])", list(tenant_ids)
        )
    return total


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
        async with self._database.connection() as connection:
            registers = await self._registers(connection, tenant_id, resource_type)
            after, report = await resume(
                connection, tenant_id, tenant, resource_type, registers=registers, apply=self._plan.apply
            )
        if resource_type == "tenant":
            await self._compare_shared(report)
        elif resource_type in KINDS:
            await self._compare_rows(KINDS[resource_type], report, after)
        # Of any other type this release has no resources that could disagree.
        async with self._database.transaction() as connection:
            await finish(connection, report, self._plan)
        return report

    async def _compare_shared(self, report: TypeReport) -> None:
        """What all of a tenant share: its own relationships and those of its groups, which have no rows to follow."""
        async with self._database.connection() as connection:
            groups = await connection.fetch("SELECT id::text AS id FROM groups WHERE tenant_id = $1", report.tenant_id)
        for type, ids in (("tenant", [report.tenant_id]), ("group", [row["id"] for row in groups])):
            for first in range(0, len(ids), LARGEST):
                batch = ids[first : first + LARGEST]
                async with self._database.connection() as connection:
                    found = await read_relationships(connection, self._engine, type, batch)
                local = {Resource(type, id): found.get(id, []) for id in batch}
                if self._projections is not None and report.readable:
                    try:
                        held = await self._projections.read(list(local))
                    except NotOffered:
                        report.readable = False
                    else:
                        await self._compare_elsewhere(report, self._projections, local, held)
                report.compared += len(batch)
                self._on_progress(len(batch))

    async def _compare_rows(self, kind: RowKind, report: TypeReport, after: str) -> None:
        scan, pace = await self._open_scan(kind, report.tenant_id), Pace(self._plan.rate)
        while rows := await self._next_rows(kind, report.tenant_id, after, pace.batch):
            last = rows[-1]["id"]
            await self._compare_batch(kind, report, rows, scan)
            await self._compare_dangling(kind, report, after, last)
            async with self._database.transaction() as connection:
                await remember(connection, report, last, apply=self._plan.apply)
            self._on_progress(len(rows))
            await pace.after(len(rows))
            after = last
        await self._take(scan, report, {}, None, frozenset())
        await self._compare_dangling(kind, report, after, LAST_ID)

    async def _open_scan(self, kind: RowKind, tenant_id: str) -> Scan | None:
        if self._projections is None:
            return None
        async with self._database.connection() as connection:
            own, every = await count_rows(connection, kind, tenant_id)
        return Scan(self._projections, kind.type, tenant_id, whole=every <= own * PASSED_OVER_FOR_ONE)

    async def _next_rows(self, kind: RowKind, tenant_id: str, after: str, limit: int) -> list[Any]:
        async with self._database.connection() as connection:
            return await read_rows(connection, kind, tenant_id, after, limit)

    async def _compare_batch(self, kind: RowKind, report: TypeReport, rows: Sequence[Any], scan: Scan | None) -> None:
        ids = [row["id"] for row in rows]
        async with self._database.connection() as connection:
            local = await read_relationships(connection, self._engine, kind.type, ids)
            tenants = await read_subject_tenants(connection, [one for found in local.values() for one in found])
        broken = []
        for row in rows:
            findings = self._compare_row(kind, report, row, local.get(row["id"], []), tenants)
            if any(one.is_drift for one in findings):
                broken.append(row["id"])
            else:
                for finding in findings:
                    self._note(report, finding)
        for first in range(0, len(broken), LOCKED_AT_ONCE):
            await self._look_again(kind, report, broken[first : first + LOCKED_AT_ONCE])
        report.compared += len(rows)
        whole = {Resource(kind.type, id): local.get(id, []) for id in ids if id not in set(broken)}
        await self._take(scan, report, whole, ids[-1], frozenset(broken))

    def _compare_row(
        self, kind: RowKind, report: TypeReport, row: Any, there: list[Relationship], tenants: dict[str, str]
    ) -> list[Finding]:
        found = compare_row(kind, report.tenant_id, row, there, tenants)
        return found if report.registers else [one for one in found if one.kind != "unregistered"]

    async def _look_again(self, kind: RowKind, report: TypeReport, ids: Sequence[str]) -> None:
        """Rows and relationships were read one after the other: a seeming drift is looked at under a lock."""
        async with self._database.transaction() as connection:
            rows = await lock_rows(connection, kind, ids)
            local = await read_relationships(connection, self._engine, kind.type, [row["id"] for row in rows])
            tenants = await read_subject_tenants(connection, [one for found in local.values() for one in found])
            findings = [
                finding
                for row in rows
                for finding in self._compare_row(kind, report, row, local.get(row["id"], []), tenants)
            ]
            repairs = [one for one in findings if one.touch and self._plan.apply]
            if repairs:
                touch = [fact for one in repairs for fact in one.touch]
                await self._engine.write(connection, touch=touch, actor=self._plan.actor)
        report.repaired.update(one.kind for one in repairs)
        for finding in findings:
            self._note(report, finding)

    async def _take(
        self,
        scan: Scan | None,
        report: TypeReport,
        local: Mapping[Resource, Sequence[Relationship]],
        until: str | None,
        broken: frozenset[str],
    ) -> None:
        """Compare resources, and what the engine elsewhere has of the tenant besides, up to an id."""
        if scan is None or self._projections is None or not report.readable:
            return
        try:
            held = await scan.take([resource.id for resource in local], until)
        except NotOffered:
            report.readable = False
            return
        held = {one: what for one, what in held.items() if one.id not in broken}
        await self._compare_elsewhere(report, self._projections, local, held)

    async def _compare_elsewhere(
        self,
        report: TypeReport,
        projections: Projections,
        local: Mapping[Resource, Sequence[Relationship]],
        held: Mapping[Resource, Held],
    ) -> None:
        pending, gaps = await projections.compare(local, held)
        for resource, since in pending.items():
            # Of what has waited since before the run, it has seen nothing that a step of the rollout could rest on.
            behind = since is not None and since < report.started_at - UNDER_WAY
            self._note(report, Finding("behind" if behind else "pending", resource))
        for resource, gap in gaps.items():
            findings = gap.findings(resource)
            for finding in findings:
                self._note(report, finding)
            drift = [finding for finding in findings if finding.is_drift]
            if drift and self._plan.apply and await projections.repair(resource):
                report.repaired.update(finding.kind for finding in drift)

    async def _compare_dangling(self, kind: RowKind, report: TypeReport, after: str, until: str) -> None:
        while True:
            async with self._database.connection() as connection:
                ids = await read_dangling(
                    connection, self._engine, kind, report.tenant_id, after, until, PRUNED_AT_ONCE
                )
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
        if resource_type not in TYPES:
            return True
        rulings = await read_rulings(connection, self._engine.mode_policy, tenant_id)
        return rulings[resource_type].registers
