"""Moving all relationships to a SpiceDB, and what others wrote there back, while requests are served.

The local relationships stay the truth on either side of a move, so that it can be left off at any point and begun
anew: what is there already is not sent again. Resources are taken in the order of their ids, many in one write, each
under the lease and the version that a delivery of a request has as well; what somebody else delivers at that moment is
looked at once more when he is done. At the end both sides are read once more and compared.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from remit.authz.errors import PreconditionFailed, RelationshipError
from remit.authz.ids import EVERYONE, encode_text
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.projection import Lease
from remit.authz.projection_bulk import cover_all_tenants, free_leases, in_writes, settle_all, take_leases
from remit.authz.reconcile.elsewhere import LEASE, Gap, Projections
from remit.authz.reconcile.pace import DEFAULT_RATE, Pace
from remit.authz.reconcile.rows import read_relationships
from remit.authz.reconcile.scan import Scan
from remit.authz.remote import Delivery
from remit.authz.spicedb import SpiceDB
from remit.authz.subject_names import NAMED_TYPES
from remit.db.pool import Connection, Database

MOST_LISTED: Final = 1000
TRIES: Final = 5


@dataclass(slots=True)
class TypeMove:
    """How the relationships of one type stand on both sides.

    Attributes:
        resource_type: the type.
        resources: how many resources have relationships here.
        relationships: how many they have here.
        sent: how many resources were written to SpiceDB.
        missing: relationships that SpiceDB lacks.
        beyond: relationships that Remit left in SpiceDB and that hold no more.
        foreign: relationships that others wrote to SpiceDB.
        imported: how many of them were taken over.
        pending: resources with a change on its way.
    """

    resource_type: str
    resources: int = 0
    relationships: int = 0
    sent: int = 0
    missing: int = 0
    beyond: int = 0
    foreign: int = 0
    imported: int = 0
    pending: int = 0

    @property
    def equal(self) -> bool:
        """Whether SpiceDB holds what holds here, but for changes on their way and for what others wrote."""
        return not self.missing and not self.beyond


class Move:
    """One move.

    Args:
        database: of the local relationships.
        engine: of the same.
        projections: of the SpiceDB, and the comparison with it.
        remote: the SpiceDB.
        rate: most resources in a second.

    Attributes:
        foreign: what others wrote to SpiceDB, as the last comparison found it; so many at most.
        refused: what of it could not be taken over, and why; so many at most.
        on_progress: called with how many more resources have been looked at.
    """

    def __init__(
        self,
        database: Database,
        engine: PostgresEngine,
        projections: Projections,
        remote: SpiceDB,
        *,
        rate: int = DEFAULT_RATE,
    ) -> None:
        self._database = database
        self._engine = engine
        self._projections = projections
        self._remote = remote
        self._rate = rate
        self.on_progress: Callable[[int], object] = lambda _: None
        self.foreign: list[Relationship] = []
        self.refused: list[tuple[Relationship, str]] = []
        self._leased: list[Resource] = []

    @property
    def types(self) -> list[str]:
        """The types of the schema that relationships can be written on."""
        return [definition.name for definition in self._engine.schema.definitions]

    async def export(self) -> dict[str, int]:
        """Write to SpiceDB what it lacks; return of how many resources of each type.

        Raises:
            RemoteError: no answer; what was written stays, and a repeat goes on.
        """
        sent = {}
        self._leased = []
        for type in self.types:
            sent[type] = 0
            async for local, gaps, _ in self._gaps(type, look_again=False):
                broken = [resource for resource, gap in gaps.items() if gap.missing or gap.beyond]
                sent[type] += len(broken)
                size = {one: len(local.get(one, [])) + len(gaps[one].beyond) + 2 for one in broken}
                for part in in_writes(broken, size.__getitem__):
                    await self._send(part, gaps)
        await self._send_leased()
        if any(sent.values()):
            await self._cover()
        return sent

    async def compare(self) -> list[TypeMove]:
        """Read both sides and compare them.

        Raises:
            RemoteError: no answer.
        """
        found = []
        self.foreign = []
        for type in self.types:
            report = TypeMove(type)
            async for local, gaps, pending in self._gaps(type, look_again=True):
                report.resources += len(local)
                report.relationships += sum(map(len, local.values()))
                report.pending += len(pending)
                for gap in gaps.values():
                    report.missing += len(gap.missing)
                    report.beyond += len(gap.beyond)
                    report.foreign += len(gap.foreign)
                    self.foreign += gap.foreign[: MOST_LISTED - len(self.foreign)]
            found.append(report)
        return found

    async def take_over(self, actor: str) -> dict[str, int]:
        """Write here what others wrote to SpiceDB, as far as it has a meaning here; return how many of each type.

        A user is who has the name in the resource's tenant. What names somebody whom the tenant does not have, or a
        resource that is not here, stays where it is and is listed with the reason.

        Args:
            actor: who, for the history.
        """
        taken = {}
        self.refused = []
        for type in self.types:
            taken[type] = 0
            async for local, gaps, _ in self._gaps(type, look_again=True):
                wanted = [one for gap in gaps.values() for one in gap.foreign]
                if not wanted:
                    continue
                async with self._database.transaction() as connection:
                    for one in wanted:
                        reason = await self._take_over_one(connection, one, local.get(one.resource, []), actor)
                        taken[type] += reason is None
                        if reason is not None and len(self.refused) < MOST_LISTED:
                            self.refused.append((one, reason))
        return taken

    async def _take_over_one(
        self, connection: Connection, one: Relationship, local: Sequence[Relationship], actor: str
    ) -> str | None:
        home = one.resource.id if one.resource.type == "tenant" else _tenant_of(local)
        if not local or home is None:
            return f"there is no {one.resource.type} of this id here"
        subject = one.subject
        if subject.type in NAMED_TYPES and subject.id != "*":
            id = await connection.fetchval(
                "SELECT id::text FROM subjects WHERE tenant_id = $1 AND kind = $2"
                " AND (external_id = $3 OR id::text = $3) ORDER BY issuer = 'remit' DESC LIMIT 1",
                home,
                subject.type,
                subject.id,
            )
            if id is None:
                return f"the tenant has no {subject.type.replace('_', ' ')} of this name"
            subject = Subject(subject.type, id, subject.relation)
        try:
            async with connection.transaction():
                fact = Relationship(one.resource, one.relation, subject, one.expires_at)
                await self._engine.write(connection, touch=[fact], actor=actor)
        except RelationshipError as error:
            return str(error)
        return None

    async def _gaps(
        self, type: str, *, look_again: bool
    ) -> AsyncIterator[tuple[dict[Resource, list[Relationship]], dict[Resource, Gap], Collection[Resource]]]:
        """Batch by batch: local relationships, how SpiceDB differs, and what is changing at the moment."""
        scan = Scan(self._projections, type)
        pace, after = Pace(self._rate), str(EVERYONE)
        while True:
            async with self._database.connection() as connection:
                stored = await self._next_ids(connection, type, after, pace.batch)
                local = await self._read(connection, type, stored)
            until = stored[-1] if stored else None
            held = await scan.take([resource.id for resource in local], until)
            if look_again:
                pending, gaps = await self._projections.compare(local, held)
            else:
                pending, gaps = await self._projections.find_gaps({**{one: [] for one in held}, **local}, held)
            yield local, gaps, pending
            self.on_progress(len(stored))
            if until is None:
                return
            after = until
            await pace.after(len(stored))

    async def _next_ids(self, connection: Connection, type: str, after: str, limit: int) -> list[str]:
        rows = await connection.fetch(
            "SELECT DISTINCT resource_id FROM relationships WHERE resource_type = $1 AND resource_id > $2::uuid"
            " ORDER BY resource_id LIMIT $3",
            self._engine.codes.types[type],
            after,
            limit,
        )
        return [str(row["resource_id"]) for row in rows]

    async def _read(
        self, connection: Connection, type: str, stored: Sequence[str]
    ) -> dict[Resource, list[Relationship]]:
        texts = await connection.fetch(
            "SELECT id::text AS id, text FROM authz_ids WHERE type = $1 AND id = ANY ($2::uuid[])",
            self._engine.codes.types[type],
            list(stored),
        )
        names = {row["id"]: row["text"] for row in texts}
        ids = [names.get(id, id) for id in stored]
        found = await read_relationships(connection, self._engine, type, ids)
        return {Resource(type, id): found.get(id, []) for id in ids}

    async def _send(self, resources: Sequence[Resource], gaps: dict[Resource, Gap]) -> None:
        """One write for resources of one type; where one stands in its way, each by itself."""
        async with self._database.connection() as connection:
            leases = {lease.resource: lease for lease in await take_leases(connection, resources, LEASE)}
            self._leased += [resource for resource in resources if resource not in leases]
            local = await self._read(connection, resources[0].type, [encode_text(one.type, one.id) for one in leases])
            named = await self._projections.named(connection, local)
        deliveries = [_delivery(lease, named[resource], gaps[resource]) for resource, lease in leases.items()]
        if not deliveries:
            return
        try:
            await self._remote.deliver_all(deliveries)
        except PreconditionFailed:
            async with self._database.connection() as connection:
                await free_leases(connection, list(leases.values()))
            for resource in leases:
                await self._projections.repair(resource)
            return
        delivered = {one: (lease, self._engine.encode_rows(local[one]), True) for one, lease in leases.items()}
        async with self._database.transaction() as connection:
            await settle_all(connection, delivered)

    async def _send_leased(self) -> None:
        """Write what another one was delivering, once his lease is over: he may have been killed."""
        for resource in self._leased:
            for _ in range(int(LEASE.total_seconds()) + 1):
                if await self._projections.repair(resource):
                    break
                await asyncio.sleep(1)

    async def _cover(self) -> None:
        """Have every later question be at least as fresh as all that was written."""
        for _ in range(TRIES):
            async with self._database.connection() as connection:
                began = await connection.fetchval("SELECT clock_timestamp()")
            token = await self._remote.read_token()
            async with self._database.transaction() as connection:
                if await cover_all_tenants(connection, began, token):
                    return
            await asyncio.sleep(1)


def _tenant_of(local: Sequence[Relationship]) -> str | None:
    return next((one.subject.id for one in local if one.relation == "tenant"), None)


def _delivery(lease: Lease, wanted: Sequence[Relationship], gap: Gap) -> Delivery:
    kept = {(one.relation, one.subject) for one in wanted}
    gone = tuple(one for one in gap.beyond if (one.relation, one.subject) not in kept)
    return Delivery(lease.resource, lease.fence, lease.delivered, touch=tuple(wanted), delete=gone, gone=not wanted)
