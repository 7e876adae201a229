"""Local relationships against the projection in an engine elsewhere, and its repair."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from remit.authz.engine import Connection
from remit.authz.model import Relationship, Resource
from remit.authz.postgres import PostgresEngine
from remit.authz.projection import read_history, replace_delivered, take_lease
from remit.authz.reconcile.findings import Finding, FindingClass
from remit.authz.remote import Delivery, Remote
from remit.authz.subject_names import SubjectNames
from remit.db.pool import Database

AT_ONCE = 16
LEASE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Held:
    """What an engine elsewhere holds of one resource.

    Attributes:
        relationships: all that are written on it there.
        version: of Remit's projection, None where Remit has written nothing.
    """

    relationships: tuple[Relationship, ...]
    version: int | None


@dataclass(frozen=True, slots=True)
class Gap:
    """How a resource's projection differs from what holds locally, as the engine elsewhere names things.

    Attributes:
        missing: relationships that it lacks.
        beyond: relationships that Remit wrote there and that hold no more.
        foreign: relationships that others wrote there.
    """

    missing: tuple[Relationship, ...]
    beyond: tuple[Relationship, ...]
    foreign: tuple[Relationship, ...]

    def findings(self, resource: Resource) -> list[Finding]:
        """The gap as findings."""
        named: dict[FindingClass, tuple[Relationship, ...]] = {
            "not_delivered": self.missing,
            "not_removed": self.beyond,
            "foreign": self.foreign,
        }
        return [
            Finding(kind, resource, detail=", ".join(str(one) for one in relationships[:5]))
            for kind, relationships in named.items()
            if relationships
        ]


class Projections:
    """Compares and repairs the projections of one run.

    Args:
        database: of the local relationships.
        engine: of the same.
        remote: the engine elsewhere.
        names: what that one calls subjects.
        after_restore: the local database is older than what the engine elsewhere holds: what that one has under a
            version that this database has never given is Remit's own, although nothing here remembers it.
    """

    def __init__(
        self, database: Database, engine: PostgresEngine, remote: Remote, names: SubjectNames, *, after_restore: bool
    ) -> None:
        self._database = database
        self._engine = engine
        self.remote = remote
        self._names = names
        self._after_restore = after_restore

    async def read(self, resources: Sequence[Resource]) -> dict[Resource, Held]:
        """What the engine elsewhere holds of some resources; several are asked for at once.

        Raises:
            RemoteError: no answer.
            NotOffered: the engine cannot be read.
        """
        slots = asyncio.Semaphore(AT_ONCE)

        async def read_one(resource: Resource) -> Held:
            async with slots:
                relationships, version = await self.remote.read_resource(resource)
                return Held(tuple(relationships), version)

        return dict(zip(resources, await asyncio.gather(*map(read_one, resources)), strict=True))

    async def find_pending(self, connection: Connection, resources: Sequence[Resource]) -> set[Resource]:
        """Which of some resources of one type have changes that wait in the outbox."""
        if not resources:
            return set()
        rows = await connection.fetch(
            "SELECT DISTINCT resource_id::text AS id FROM outbox"
            " WHERE resource_type = $1 AND resource_id = ANY ($2::uuid[])",
            resources[0].type,
            [resource.id for resource in resources],
        )
        return {Resource(resources[0].type, row["id"]) for row in rows}

    async def compare(
        self, connection: Connection, resource: Resource, local: Sequence[Relationship], held: Held
    ) -> Gap:
        """How one resource's projection differs."""
        wanted = await self._names.translate(connection, local)
        wanted_keys, held_keys = {_key(one) for one in wanted}, {_key(one) for one in held.relationships}
        missing = tuple(one for one in wanted if _key(one) not in held_keys)
        more = [one for one in held.relationships if _key(one) not in wanted_keys]
        if not more:
            return Gap(missing, (), ())
        ever = {
            _key(one)
            for one in await self._names.translate(connection, await read_history(connection, self._engine, resource))
        }
        ahead = (
            self._after_restore and held.version is not None and held.version > await self._fence(connection, resource)
        )
        beyond = tuple(one for one in more if ahead or _key(one) in ever)
        return Gap(missing, beyond, tuple(one for one in more if one not in beyond))

    async def repair(self, resource: Resource) -> bool:
        """Write what a projection lacks and remove what Remit left there; False while another one delivers to it.

        Raises:
            RemoteError, PreconditionFailed: it was not done.
        """
        relationships, version = await self.remote.read_resource(resource)
        held = Held(tuple(relationships), version)
        async with self._database.connection() as connection:
            local = await self._engine.read(connection, resource)
            gap = await self.compare(connection, resource, local, held)
            lease = await take_lease(connection, resource, LEASE, beyond=version or 0)
        if lease is None:
            return False
        delivery = Delivery(
            resource, lease.fence, version, touch=gap.missing, delete=gap.beyond, gone=not local, actor=None
        )
        await self.remote.deliver(delivery)
        async with self._database.transaction() as connection:
            return await replace_delivered(connection, self._engine, lease, local)

    async def _fence(self, connection: Connection, resource: Resource) -> int:
        fence: int | None = await connection.fetchval(
            "SELECT fence FROM projections WHERE resource_type = $1 AND resource_id = $2::uuid",
            resource.type,
            resource.id,
        )
        return fence or 0


def _key(one: Relationship) -> tuple[object, ...]:
    return one.resource, one.relation, one.subject
