"""Delivery of changed relationships to an engine elsewhere, after the commit: by the request at once, else by a worker.

No database connection is held while the engine is awaited. An outage never gives a change up: it is tried again, ever
more slowly. An error that will not pass is marked and listed, and delays nothing else.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

import structlog

from remit.authz.delivery_counters import LAG, By, DeliveryCounters, Op
from remit.authz.errors import PreconditionFailed
from remit.authz.ids import encode_id
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.projection import (
    Difference,
    Lease,
    give_up,
    put_off,
    read_difference,
    read_history,
    settle,
    take_lease,
)
from remit.authz.remote import Delivery, Remote, RemoteError
from remit.authz.subject_names import SubjectNames
from remit.db.pool import Database

if TYPE_CHECKING:
    from remit.db.pool import Connection

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

REPEATS = 3
FIRST_WAIT_SECONDS, JITTER_SECONDS = 0.2, 0.1
SHORTEST_ATTEMPT_SECONDS = 0.05
LONGEST_RETRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a deliverer tries.

    Attributes:
        attempt: seconds for one call.
        whole: seconds for all.
        repeats: how often a call that failed is made again.
        lease: how long nobody else delivers to the resource; longer than `whole`.
    """

    attempt: float
    whole: float
    repeats: int
    lease: timedelta


PATIENCE: dict[By, Patience] = {
    "request": Patience(0.4, 2.0, REPEATS, timedelta(seconds=5)),
    "worker": Patience(5.0, 10.0, 0, timedelta(seconds=20)),
}


class Outcome(Enum):
    """What became of a delivery."""

    DELIVERED = "delivered"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome, and whether the agent of the task is to be called now."""

    outcome: Outcome
    forward: bool = False


class Deliverer:
    """Delivers what the outbox holds.

    Args:
        database: where it is.
        engine: of the local relationships.
        remote: the engine elsewhere.
        names: what that one calls subjects.
        counters: where each step is counted.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        database: Database,
        engine: PostgresEngine,
        remote: Remote,
        names: SubjectNames,
        counters: DeliveryCounters,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.database = database
        self.engine = engine
        self.remote = remote
        self.names = names
        self.counters = counters
        self._sleep = sleep

    async def aclose(self) -> None:
        """Give back what it and the engine elsewhere hold."""
        self.counters.close()
        await self.remote.aclose()

    async def deliver(self, resource: Resource, by: By = "request", actor: Subject | None = None) -> Result:
        """Bring a resource's projection up to date.

        Args:
            resource: whose relationships have changed and are committed.
            by: who delivers, which says how long it tries.
            actor: in whose name, for engines that ask for a principal.

        Returns:
            PENDING also when another one delivers at this moment, or when this failed and the worker goes on.
        """
        async with self.database.connection() as connection:
            lease = await take_lease(connection, resource, PATIENCE[by].lease)
        if lease is None:
            return Result(Outcome.PENDING)
        return await self._deliver_leased(lease, by, actor)

    async def _deliver_leased(self, lease: Lease, by: By, actor: Subject | None) -> Result:
        while True:
            async with self.database.connection() as connection:
                difference = await read_difference(connection, self.engine, lease)
                delivery = await self._prepare(connection, lease, difference, actor)
            op: Op = "deregister" if difference.gone else "register"
            token = None
            if not difference.is_empty:
                self.counters.count(lease.resource.type, "attempt", op, by)
                try:
                    token = await self._send(delivery, op, by)
                except (RemoteError, PreconditionFailed) as error:
                    return await self._fail(lease, difference, error, op, by)
                self.counters.count(lease.resource.type, "success", op, by)
            async with self.database.transaction() as connection:
                seconds = await settle(connection, self.engine, lease, difference, token)
            if seconds is None:
                return Result(Outcome.PENDING)
            LAG.labels(lease.resource.type).observe(max(0.0, seconds))
            if difference.whole:
                return Result(Outcome.DELIVERED, difference.forward)
            renewed = await self._renew(lease, by)
            if renewed is None:
                return Result(Outcome.PENDING)
            lease = renewed

    async def _renew(self, lease: Lease, by: By) -> Lease | None:
        async with self.database.connection() as connection:
            return await take_lease(connection, lease.resource, PATIENCE[by].lease)

    async def _prepare(
        self, connection: "Connection", lease: Lease, difference: Difference, actor: Subject | None
    ) -> Delivery:
        both = await self.names.translate(connection, [*difference.touch, *difference.delete])
        return Delivery(
            resource=lease.resource,
            version=lease.fence,
            delivered=lease.delivered,
            touch=tuple(both[: len(difference.touch)]),
            delete=tuple(both[len(difference.touch) :]),
            gone=difference.gone,
            actor=actor,
        )

    async def _send(self, delivery: Delivery, op: Op, by: By) -> str | None:
        patience = PATIENCE[by]
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience.whole
        for repeat in range(patience.repeats + 1):
            try:
                return await self._send_once(delivery, min(patience.attempt, deadline - clock()))
            except RemoteError as error:
                wait = FIRST_WAIT_SECONDS * 2**repeat + random.uniform(0, JITTER_SECONDS)  # noqa: S311 - no secret
                late = clock() + wait + SHORTEST_ATTEMPT_SECONDS > deadline
                if not error.transient or repeat == patience.repeats or late:
                    raise
                self.counters.count(delivery.resource.type, "retry", op, by)
                await self._sleep(wait)
        raise AssertionError("the last repeat returns or raises")

    async def _send_once(self, delivery: Delivery, seconds: float) -> str | None:
        try:
            return await _in_time(self.remote.deliver(delivery), seconds)
        except PreconditionFailed:
            return await self._reconcile(delivery, seconds)

    async def _reconcile(self, delivery: Delivery, seconds: float) -> str | None:
        """The projection has another version than was recorded: a write of unknown outcome got through, perhaps ours.

        What it holds is read, and the difference to what holds locally is sent under the version that it has. What
        others wrote there is left alone: only what Remit has ever written is removed. If it was ours, it is sent once
        more all the same: its answer has the token without which the change might not be seen yet.
        """
        there, version = await _in_time(self.remote.read_resource(delivery.resource), seconds)
        if version == delivery.version:
            return await _in_time(self.remote.deliver(replace(delivery, delivered=version)), seconds)
        async with self.database.connection() as connection:
            wanted = await self.names.translate(connection, await self.engine.read(connection, delivery.resource))
            ever = await self.names.translate(
                connection, await read_history(connection, self.engine, delivery.resource)
            )
        own = {_key(one) for one in (*ever, *delivery.delete)}
        kept = {_key(one) for one in wanted}
        known = set(there)
        again = replace(
            delivery,
            delivered=version,
            touch=tuple(one for one in wanted if one not in known),
            delete=tuple(one for one in there if _key(one) in own - kept),
        )
        return await _in_time(self.remote.deliver(again), seconds)

    async def _waits_for_agent(self, connection: "Connection", resource: Resource) -> bool:
        waits: bool = resource.type != "agent" and await connection.fetchval(
            "SELECT EXISTS (SELECT FROM outbox o JOIN outbox a ON a.tenant_id = o.tenant_id"
            " WHERE o.resource_type = $1 AND o.resource_id = $2 AND a.resource_type = 'agent' AND a.dead_at IS NULL)",
            resource.type,
            str(encode_id(resource.type, resource.id)),
        )
        return waits

    async def _fail(
        self, lease: Lease, difference: Difference, error: RemoteError | PreconditionFailed, op: Op, by: By
    ) -> Result:
        transient = not isinstance(error, RemoteError) or error.transient
        name = error.exception_class if isinstance(error, RemoteError) else type(error).__name__
        self.counters.count(lease.resource.type, "failure", op, by, name)
        log.warning(
            "an engine elsewhere was not told", type=lease.resource.type, op=op, by=by, error=name, cause=repr(error)
        )
        async with self.database.transaction() as connection:
            if isinstance(error, RemoteError) and error.denied and self.remote.judges and op == "register":
                # A provider that has not heard of the agent yet refuses what belongs to it.
                transient = await self._waits_for_agent(connection, lease.resource)
            if not transient:
                await give_up(connection, lease, difference.entries, name)
                return Result(Outcome.REFUSED)
            attempts = await connection.fetchval(
                "SELECT attempts FROM projections WHERE resource_type = $1 AND resource_id = $2",
                lease.resource.type,
                str(encode_id(lease.resource.type, lease.resource.id)),
            )
            wait = min(LONGEST_RETRY, timedelta(seconds=0.5 * 2 ** min(attempts or 0, 10)))
            await put_off(connection, lease, name, wait)
        return Result(Outcome.PENDING)


async def _in_time(call: Awaitable[Answer], seconds: float) -> Answer:
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:
        raise RemoteError(
            "the engine elsewhere did not answer in time", transient=True, exception_class="DeadlineExceeded"
        ) from error


def _key(relationship: Relationship) -> tuple[Resource, str, Subject]:
    return relationship.resource, relationship.relation, relationship.subject
