"""What the worker does for an engine elsewhere: deliver what requests left, and call agents that waited for it."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import structlog

from remit.authz.delivery import Deliverer
from remit.authz.delivery_bulk import deliver_many
from remit.authz.model import Resource
from remit.db.pool import UNREACHABLE, Database
from remit.errors import Unavailable
from remit.ids import new_id
from remit.rpc.answers import AgentError
from remit.rpc.call import agent_params
from remit.rpc.client import AgentClient
from remit.tasks.service import AGENT_COLUMN, COLUMNS, change_status, read_task

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
BATCH = 400
# So few are delivered each by itself: the first answers of an engine that is back are seen for each.
FEW = 8
AT_ONCE = 8

# What a request is still delivering itself.
GRACE = timedelta(seconds=2.5)

# Revocations first, then the oldest. A lease keeps two workers from one resource. Ids that are stored hashed are read
# back: those of other servers' resources are no UUIDs.
_DUE = """
WITH due AS (
  SELECT o.resource_type, o.resource_id, o.revocation, o.id
    FROM outbox o LEFT JOIN projections p USING (resource_type, resource_id)
   WHERE o.dead_at IS NULL AND (p.leased_until IS NULL OR p.leased_until < now())
     AND coalesce(p.retry_at, o.created_at + $1::interval) <= now()
   ORDER BY o.revocation DESC, o.id LIMIT $2
)
SELECT d.resource_type, coalesce(min(i.text), d.resource_id::text) AS resource_id, count(*) AS entries
  FROM due d LEFT JOIN authz_types t ON t.name = d.resource_type
  LEFT JOIN authz_ids i ON i.type = t.code AND i.id = d.resource_id
 GROUP BY d.resource_type, d.resource_id ORDER BY max(d.revocation) DESC, min(d.id)
"""


async def run_relay(database: Database, agents: AgentClient, deliverer: Deliverer) -> None:
    """Deliver what is due until cancelled."""
    while True:
        try:
            busy = await relay_once(database, agents, deliverer)
        except (Unavailable, asyncpg.PostgresError, *UNREACHABLE) as error:
            log.warning("the outbox cannot be read", cause=repr(error))
            busy = False
        if not busy:
            await asyncio.sleep(POLL_SECONDS)


async def relay_once(database: Database, agents: AgentClient, deliverer: Deliverer, grace: timedelta = GRACE) -> bool:
    """Deliver one batch; return whether there may be more.

    Args:
        database: where the outbox is.
        agents: the way to agents.
        deliverer: to the engine elsewhere.
        grace: how long a new change is left to the request that made it.
    """
    async with database.connection() as connection:
        rows = await connection.fetch(_DUE, grace, BATCH)
    due = [Resource(row["resource_type"], row["resource_id"]) for row in rows]
    if deliverer.remote.bulk_writes and len(due) > FEW:
        due = await _deliver_in_bulk(database, agents, deliverer, due)
    slots = asyncio.Semaphore(AT_ONCE)

    async def deliver(resource: Resource) -> None:
        async with slots:
            result = await deliverer.deliver(resource, by="worker")
            if result.forward:
                await forward_task(database, agents, resource.id)

    outcomes = await asyncio.gather(*map(deliver, due), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            log.error("a delivery ended with an error", exc_info=outcome)
    return bool(sum(row["entries"] for row in rows) == BATCH)


async def _deliver_in_bulk(
    database: Database, agents: AgentClient, deliverer: Deliverer, due: Sequence[Resource]
) -> list[Resource]:
    """Deliver many in few writes; return those that are to be delivered by themselves."""
    left = []
    for type in dict.fromkeys(resource.type for resource in due):
        of_type = [resource for resource in due if resource.type == type]
        results = await deliver_many(deliverer, of_type)
        left += [resource for resource in of_type if resource not in results]
        for resource, result in results.items():
            if result.forward:
                await forward_task(database, agents, resource.id)
    return left


async def forward_task(database: Database, agents: AgentClient, task_id: str) -> None:
    """Call the agent of a task that was created while the engine elsewhere was away; once, whatever it answers."""
    async with database.connection() as connection:
        row = await connection.fetchrow(
            f"SELECT {COLUMNS}, {AGENT_COLUMN} FROM tasks t WHERE t.id = $1 AND t.status = 'RUNNING'", task_id
        )
    if row is None or row["agent"] is None or row["agent"]["acp_type"] == "sync" or not row["agent"]["acp_url"]:
        return
    task = read_task(row)
    try:
        await agents.call(
            row["agent"]["acp_url"],
            "task/create",
            {**agent_params(task, row["agent"]), "params": task.params},
            request_id=new_id().replace("-", ""),
        )
    except AgentError as error:
        async with database.connection() as connection:
            await change_status(connection, task.id, "FAILED", str(error), only_from=("RUNNING",))
