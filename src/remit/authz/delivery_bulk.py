"""Delivery of many resources' changes in one write, for what an outage or a backfill has left.

Each resource is under its own lease and version, as when it is delivered by itself. One that stands in the way of the
others is left out: it is then delivered by itself, where its own error is its own.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from remit.authz.delivery import LONGEST_RETRY, PATIENCE, Deliverer, Outcome, Result
from remit.authz.delivery_counters import LAG, Op, Step
from remit.authz.errors import PreconditionFailed
from remit.authz.ids import encode_text
from remit.authz.model import Relationship, Resource
from remit.authz.projection import KEY, Lease
from remit.authz.projection_bulk import free_leases, in_writes, keep_tokens, put_off_all, settle_all, take_leases
from remit.authz.reads import COLUMNS
from remit.authz.remote import Delivery, RemoteError

if TYPE_CHECKING:
    from remit.db.pool import Connection

log = structlog.get_logger(__name__)

# One with more changes than this is delivered by itself.
MOST_OF_ONE: Final = 100


@dataclass(slots=True)
class _Change:
    """What one resource's projection lacks.

    Attributes:
        lease: under which it is delivered.
        local: rows of the relationships that hold.
        touch: rows that were not delivered.
        delete: rows that were delivered and hold no more.
        entries: ids of the outbox entries that it settles.
        forward: the agent of the task is to be called.
    """

    lease: Lease
    local: list[tuple[Any, ...]] = field(default_factory=list)
    touch: list[tuple[Any, ...]] = field(default_factory=list)
    delete: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    forward: bool = False

    @property
    def size(self) -> int:
        """How many updates it takes, its version counted in."""
        return len(self.touch) + len(self.delete) + 2

    @property
    def op(self) -> Op:
        """What it is called in counters."""
        return "register" if self.local else "deregister"


async def deliver_many(deliverer: Deliverer, resources: Sequence[Resource]) -> dict[Resource, Result]:
    """Bring the projections of resources of one type up to date, as the worker does.

    Returns:
        What became of each; those that are to be delivered by themselves are left out.
    """
    async with deliverer.database.connection() as connection:
        leases = await take_leases(connection, resources, PATIENCE["worker"].lease)
        results = {one: Result(Outcome.PENDING) for one in {*resources} - {lease.resource for lease in leases}}
        changes = await _read_changes(connection, deliverer, leases)
        # What an earlier attempt left is not known here: such a one is looked into by itself.
        alone = [change for change in changes if change.size > MOST_OF_ONE or change.lease.unsure]
        if alone:
            await free_leases(connection, [change.lease for change in alone])
    for part in in_writes((change for change in changes if change not in alone), lambda change: change.size):
        results |= await _deliver_part(deliverer, part)
    return results


async def _deliver_part(deliverer: Deliverer, part: Sequence[_Change]) -> dict[Resource, Result]:
    leases = [change.lease for change in part]
    sent = [change for change in part if change.touch or change.delete]
    token = None
    if sent:
        async with deliverer.database.connection() as connection:
            deliveries = await _prepare(connection, deliverer, sent)
        _count(deliverer, sent, "attempt")
        try:
            token = await deliverer.remote.deliver_all(deliveries)
        except RemoteError as error:
            _count(deliverer, sent, "failure", error.exception_class)
            log.warning("an engine elsewhere was not told", changes=len(sent), error=error.exception_class)
            async with deliverer.database.connection() as connection:
                if error.transient:
                    await put_off_all(connection, leases, error.exception_class, LONGEST_RETRY)
                    return {lease.resource: Result(Outcome.PENDING) for lease in leases}
                await free_leases(connection, leases)
            return {}
        except PreconditionFailed as error:
            _count(deliverer, sent, "failure", type(error).__name__)
            async with deliverer.database.connection() as connection:
                await free_leases(connection, leases)
            return {}
        _count(deliverer, sent, "success")
    delivered = {change.lease.resource: (change.lease, change.local, bool(change in sent)) for change in part}
    async with deliverer.database.transaction() as connection:
        done = await settle_all(connection, delivered)
        if token is not None:
            await keep_tokens(connection, [lease for lease in leases if lease.resource in done], token)
        entries = [id for change in part if change.lease.resource in done for id in change.entries]
        rows = await connection.fetch(
            "DELETE FROM outbox WHERE id = ANY ($1::bigint[]) RETURNING"
            " extract(epoch FROM clock_timestamp() - created_at)::float8 AS seconds",
            entries,
        )
    for row in rows:
        LAG.labels(leases[0].resource.type).observe(max(0.0, row["seconds"]))
    return {
        change.lease.resource: Result(Outcome.DELIVERED, change.forward)
        if change.lease.resource in done
        else Result(Outcome.PENDING)
        for change in part
    }


async def _read_changes(connection: "Connection", deliverer: Deliverer, leases: Sequence[Lease]) -> list[_Change]:
    """Both sets of each resource in one snapshot with the entries: one that commits later keeps its place."""
    if not leases:
        return []
    type = leases[0].resource.type
    changes = {encode_text(type, lease.resource.id): _Change(lease) for lease in leases}
    ids, code = list(changes), deliverer.engine.codes.types[type]
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        local = await connection.fetch(
            f"SELECT {COLUMNS} FROM relationships WHERE resource_type = $1 AND resource_id = ANY ($2::uuid[])"
            " AND (expires_at IS NULL OR expires_at > now())",
            code,
            ids,
        )
        held = await connection.fetch(
            f"SELECT {KEY}, expires_at FROM projected_relationships"
            " WHERE resource_type = $1 AND resource_id = ANY ($2::uuid[])",
            code,
            ids,
        )
        entries = await connection.fetch(
            "SELECT id, resource_id::text AS resource_id, forward FROM outbox"
            " WHERE resource_type = $1 AND resource_id = ANY ($2::uuid[])",
            type,
            ids,
        )
    there: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = defaultdict(dict)
    for row in held:
        there[str(row["resource_id"])][tuple(row)[:6]] = tuple(row)
    for row in local:
        change = changes[str(row["resource_id"])]
        change.local.append(tuple(row))
        delivered = there[str(row["resource_id"])].pop(tuple(row)[:6], None)
        if delivered is None or delivered[6] != row["expires_at"]:
            change.touch.append(tuple(row))
    for id, gone in there.items():
        changes[id].delete = list(gone.values())
    for row in entries:
        change = changes[row["resource_id"]]
        change.entries.append(row["id"])
        change.forward = change.forward or row["forward"]
    return list(changes.values())


async def _prepare(connection: "Connection", deliverer: Deliverer, changes: Sequence[_Change]) -> list[Delivery]:
    rows = [row for change in changes for row in (*change.touch, *change.delete)]
    decoded = await deliverer.engine.decode_rows(connection, rows)
    named = iter(await deliverer.names.translate(connection, decoded))

    def take(count: int) -> tuple[Relationship, ...]:
        return tuple(next(named) for _ in range(count))

    return [
        Delivery(
            change.lease.resource,
            change.lease.fence,
            change.lease.delivered,
            touch=take(len(change.touch)),
            delete=take(len(change.delete)),
            gone=not change.local,
        )
        for change in changes
    ]


def _count(deliverer: Deliverer, changes: Sequence[_Change], step: Step, error: str | None = None) -> None:
    for change in changes:
        deliverer.counters.count(change.lease.resource.type, step, change.op, "worker", error)
