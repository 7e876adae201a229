"""Local relationships against the projection in an engine elsewhere, and its repair."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from remit.authz.engine import Connection
from remit.authz.ids import encode_text
from remit.authz.model import Relationship, Resource
from remit.authz.postgres import PostgresEngine
from remit.authz.projection import MOST_UPDATES, read_history, take_lease
from remit.authz.projection_bulk import settle_all
from remit.authz.reconcile.findings import Finding, FindingClass
from remit.authz.reconcile.rows import read_relationships
from remit.authz.remote import Delivery, Remote, RemoteError
from remit.authz.subject_names import SubjectNames
from remit.db.pool import Database

AT_ONCE = 16
LEASE = timedelta(seconds=20)
# A long reading outlives a restart of what it reads.
WAITS_SECONDS = (0.5, 1.0, 2.0)

Answer = TypeVar("Answer")


async def read_again(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """What a reading gives, which is repeated after a failure that may pass.

    Raises:
        RemoteError: it failed for good, or each time.
    """
    for wait in WAITS_SECONDS:
        try:
            return await call()
        except RemoteError as error:
            if not error.transient:
                raise
        await asyncio.sleep(wait)
    return await call()


@dataclass(frozen=True, slots=True)
class Held:
    """What an engine elsewhere holds of one resource.

    Attributes:
        relationships: all that are written on it there.
        version: of Remit's projection; None where Remit has written nothing, or where it was not asked for.
    """

    relationships: tuple[Relationship, ...] = ()
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """How a resource's projection differs from what holds locally, as the engine elsewhere names things.

    Attributes:
        missing: relationships that it lacks.
        beyond: relationships that Remit wrote there and that hold no more.
        foreign: relationships that others wrote there.
    """

    missing: tuple[Relationship, ...] = ()
    beyond: tuple[Relationship, ...] = ()
    foreign: tuple[Relationship, ...] = ()

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
        """What the engine elsewhere holds of some resources, with its versions; several are asked for at once.

        Raises:
            RemoteError: no answer.
            NotOffered: the engine cannot be read.
        """
        slots = asyncio.Semaphore(AT_ONCE)

        async def read_one(resource: Resource) -> Held:
            async with slots:
                relationships, version = await read_again(lambda: self.remote.read_resource(resource))
                return Held(tuple(relationships), version)

        return dict(zip(resources, await asyncio.gather(*map(read_one, resources)), strict=True))

    async def compare(
        self, local: Mapping[Resource, Sequence[Relationship]], held: Mapping[Resource, Held]
    ) -> tuple[dict[Resource, datetime | None], dict[Resource, Gap]]:
        """How the projections of resources of one type differ, and of which nothing is said, as they are changing.

        Two readings are never of one moment: what seems to differ, and what is held of a resource that was not among
        the local ones, is read once more on both sides.

        Args:
            local: the local relationships of some resources.
            held: what the engine elsewhere holds, of these and perhaps of others.

        Returns:
            Those that are changing, and since when a change of theirs waits, None where it came while they were read;
            the gaps of the others.
        """
        pending, gaps = await self.find_gaps(local, held)
        suspects = [
            resource
            for resource, gap in gaps.items()
            # Versions, which tell whose a write was, are read with single resources only.
            if gap.missing or gap.beyond or (self._after_restore and gap.foreign)
        ]
        suspects += [resource for resource in held if resource not in local]
        if not suspects:
            return pending, gaps
        before = await self._read_local(suspects)
        again = await self.read(suspects)
        after = await self._read_local(suspects)
        steady = {one: facts for one, facts in after.items() if set(facts) == set(before[one])}
        waiting, fresh = await self.find_gaps(steady, again)
        pending |= dict.fromkeys(set(suspects) - steady.keys()) | waiting
        return pending, {**{one: gap for one, gap in gaps.items() if one not in set(suspects)}, **fresh}

    async def find_gaps(
        self, local: Mapping[Resource, Sequence[Relationship]], held: Mapping[Resource, Held]
    ) -> tuple[dict[Resource, datetime | None], dict[Resource, Gap]]:
        """How projections differ from what was read on both sides; those with a waiting change are not judged."""
        async with self._database.connection() as connection:
            pending = await self._find_pending(connection, list(local))
            wanted = await self.named(connection, {one: facts for one, facts in local.items() if one not in pending})
            gaps = {
                resource: await self._compare(connection, resource, facts, held.get(resource, Held()))
                for resource, facts in wanted.items()
            }
        return pending, gaps

    async def _read_local(self, resources: Sequence[Resource]) -> dict[Resource, list[Relationship]]:
        ids = [resource.id for resource in resources]
        async with self._database.connection() as connection:
            found = await read_relationships(connection, self._engine, resources[0].type, ids)
        return {one: found.get(one.id, []) for one in resources}

    async def repair(self, resource: Resource) -> bool:
        """Write what a projection lacks and remove what Remit left there; False while another one delivers to it.

        Raises:
            RemoteError, PreconditionFailed: it was not done.
        """
        relationships, version = await self.remote.read_resource(resource)
        held = Held(tuple(relationships), version)
        async with self._database.connection() as connection:
            local = await self._engine.read(connection, resource)
            wanted = await self.named(connection, {resource: local})
            gap = await self._compare(connection, resource, wanted[resource], held)
            lease = await take_lease(connection, resource, LEASE, beyond=version or 0)
        if lease is None:
            return False
        await self._deliver(resource, lease.fence, version, gap, gone=not local)
        async with self._database.transaction() as connection:
            return bool(await settle_all(connection, {resource: (lease, self._engine.encode_rows(local), True)}))

    async def _deliver(self, resource: Resource, version: int, delivered: int | None, gap: Gap, *, gone: bool) -> None:
        """Send a gap, in as many writes as its size takes."""
        changes = [*((one, True) for one in gap.beyond), *((one, False) for one in gap.missing)]
        for first in range(0, max(len(changes), 1), MOST_UPDATES):
            part = changes[first : first + MOST_UPDATES]
            delivery = Delivery(
                resource,
                version,
                delivered if first == 0 else version,
                touch=tuple(one for one, removed in part if not removed),
                delete=tuple(one for one, removed in part if removed),
                gone=gone,
            )
            await self.remote.deliver(delivery)

    async def _find_pending(
        self, connection: Connection, resources: Sequence[Resource]
    ) -> dict[Resource, datetime | None]:
        if not resources:
            return {}
        rows = await connection.fetch(
            "SELECT resource_id::text AS id, min(created_at) AS since FROM outbox"
            " WHERE resource_type = $1 AND resource_id = ANY ($2::uuid[]) GROUP BY resource_id",
            resources[0].type,
            list(by_id := {encode_text(one.type, one.id): one for one in resources}),
        )
        return {by_id[row["id"]]: row["since"] for row in rows}

    async def named(
        self, connection: Connection, local: Mapping[Resource, Sequence[Relationship]]
    ) -> dict[Resource, list[Relationship]]:
        """Local relationships as the engine elsewhere names them: one statement for all."""
        named = iter(await self._names.translate(connection, [one for facts in local.values() for one in facts]))
        return {resource: [next(named) for _ in facts] for resource, facts in local.items()}

    async def _compare(
        self, connection: Connection, resource: Resource, wanted: Sequence[Relationship], held: Held
    ) -> Gap:
        wanted_keys, held_keys = {_key(one) for one in wanted}, {_key(one) for one in held.relationships}
        missing = tuple(one for one in wanted if _key(one) not in held_keys)
        more = [one for one in held.relationships if _key(one) not in wanted_keys]
        if not more:
            return Gap(missing)
        ever = {
            _key(one)
            for one in await self._names.translate(connection, await read_history(connection, self._engine, resource))
        }
        ahead = (
            self._after_restore and held.version is not None and held.version > await self._fence(connection, resource)
        )
        beyond = tuple(one for one in more if ahead or _key(one) in ever)
        return Gap(missing, beyond, tuple(one for one in more if one not in beyond))

    async def _fence(self, connection: Connection, resource: Resource) -> int:
        fence: int | None = await connection.fetchval(
            "SELECT fence FROM projections WHERE resource_type = $1 AND resource_id = $2::uuid",
            resource.type,
            encode_text(resource.type, resource.id),
        )
        return fence or 0


def _key(one: Relationship) -> tuple[object, ...]:
    return one.resource, one.relation, one.subject
