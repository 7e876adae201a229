"""Reading what an engine elsewhere holds of resources of a type, in the order of their ids.

For one tenant there are two ways. The graph's relationships of the type are read from end to end, a page at a time,
and those of other tenants are passed over; or only the ids of the tenant's resources are, and each resource is read by
itself. The first costs by what the whole graph holds, the second by what the tenant has, and much more for each.
Neither is trusted to be of one moment with what holds locally, nor to come in order: what seems to differ is read once
more by itself.
"""

from collections.abc import Collection
from typing import Final

from remit.authz.ids import is_stored_as_is
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.reconcile.elsewhere import Held, Projections, read_again

# One resource read by itself costs about as much as so many that are passed over.
PASSED_OVER_FOR_ONE: Final = 50
PAGE: Final = 1000


class Scan:
    """One reading.

    Args:
        projections: of the run.
        resource_type: the type.
        tenant_id: whose resources, None for all.
        whole: read the whole type, rather than each resource of the tenant.
    """

    def __init__(
        self, projections: Projections, resource_type: str, tenant_id: str | None = None, *, whole: bool = True
    ) -> None:
        self._projections = projections
        self._type = resource_type
        self._home = Subject("tenant", tenant_id) if tenant_id else None
        self._whole = whole
        self._page: list[Relationship] = []
        self._cursor: str | None = None
        self._ended = False
        self._read_ahead: tuple[str, list[Relationship]] | None = None

    async def take(self, ids: Collection[str], until: str | None) -> dict[Resource, Held]:
        """What is held of some resources, and of others (of the tenant) that come before `until`.

        Args:
            ids: the resources, which come after those of the call before.
            until: the last stored id to read, None to read to the end.

        Raises:
            RemoteError: no answer.
            NotOffered: the engine cannot be read.
        """
        wanted, found = set(ids), dict[Resource, Held]()
        while (group := await self._next_group()) is not None:
            id, relationships = group
            if until is not None and id > until:
                self._read_ahead = group
                break
            if id in wanted or self._is_wanted(relationships):
                found[Resource(self._type, id)] = Held(tuple(relationships))
        if self._whole:
            # Ids that are no UUIDs are stored hashed here, and come elsewhere in the order of their texts.
            hashed = [Resource(self._type, id) for id in wanted if not is_stored_as_is(id)]
            return {**found, **(await self._projections.read(hashed))}
        others = [resource for resource in found if resource.id not in wanted]
        return await self._projections.read([*(Resource(self._type, id) for id in wanted), *others])

    def _is_wanted(self, relationships: Collection[Relationship]) -> bool:
        if self._home is None:
            return True
        return any(one.relation == "tenant" and one.subject == self._home for one in relationships)

    async def _next_group(self) -> tuple[str, list[Relationship]] | None:
        """All relationships of the next resource whose id is one of Remit's."""
        if self._read_ahead is not None:
            group, self._read_ahead = self._read_ahead, None
            return group
        id: str | None = None
        relationships: list[Relationship] = []
        while (one := await self._peek()) is not None:
            if id is not None and one.resource.id != id:
                return id, relationships
            self._page.pop()
            if is_stored_as_is(one.resource.id):
                id = one.resource.id
                relationships.append(one)
        return None if id is None else (id, relationships)

    async def _peek(self) -> Relationship | None:
        while not self._page and not self._ended:
            page, self._cursor = await read_again(self._read_page)
            self._page = page[::-1]
            self._ended = self._cursor is None
        return self._page[-1] if self._page else None

    async def _read_page(self) -> tuple[list[Relationship], str | None]:
        home = self._home.id if self._home and not self._whole else None
        return await self._projections.remote.read(self._type, tenant_id=home, cursor=self._cursor, limit=PAGE)
