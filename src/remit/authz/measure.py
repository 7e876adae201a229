"""Gauges of what the database knows: what waits for an engine elsewhere, and what reconciliations found last."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog
from prometheus_client import Gauge

from remit.db.pool import UNREACHABLE, Database
from remit.errors import Unavailable

log = structlog.get_logger(__name__)

PENDING = Gauge("remit_outbox_pending", "Changes that an engine elsewhere does not have yet.", ["kind"])
OLDEST = Gauge("remit_outbox_oldest_seconds", "Age of the oldest change that is not delivered.", ["kind"])
DEAD = Gauge("remit_outbox_dead", "Changes that were given up and wait for a decision.")
DRIFT = Gauge(
    "remit_drift",
    "Differences that the last reconciliation of each tenant and type found and did not repair.",
    ["type", "class"],
)
RECONCILED = Gauge(
    "remit_reconciliation_oldest_seconds",
    "Age of the last reconciliation of the tenant that waits for one longest; 0 before the first.",
    ["type"],
)

OUTBOX_SECONDS = 5
DRIFT_SECONDS = 60
# Ages of the oldest revocation at which it is told, in seconds: it is denied locally all the while.
WARN_SECONDS, CRITICAL_SECONDS = 15, 45

_OUTBOX = """
SELECT kind, count(*) FILTER (WHERE dead_at IS NULL) AS pending, count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
       coalesce(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE dead_at IS NULL)), 0)::float8
         AS age
  FROM outbox CROSS JOIN LATERAL (VALUES ('any'), (CASE WHEN revocation > 0 THEN 'revocation' END)) k (kind)
 WHERE kind IS NOT NULL GROUP BY kind
"""
_DRIFT = """
WITH last AS (
  SELECT y.name AS type, l.drift, l.started_at FROM tenants t
   CROSS JOIN (VALUES ('tenant'), ('agent'), ('task'), ('api_key'), ('schedule')) y (name)
   CROSS JOIN LATERAL (
     SELECT r.drift, r.started_at FROM authz_reconciliations r
      WHERE r.tenant_id = t.id AND r.resource_type = y.name ORDER BY r.started_at DESC LIMIT 1) l
   WHERE t.disabled_at IS NULL
), ages AS (SELECT type, extract(epoch FROM clock_timestamp() - min(started_at))::float8 AS age FROM last GROUP BY type)
SELECT a.type, a.age, d.class, d.count FROM ages a
  LEFT JOIN (SELECT l.type, e.key AS class, sum(e.value::bigint)::bigint AS count
               FROM last l CROSS JOIN LATERAL jsonb_each_text(l.drift) e GROUP BY l.type, e.key) d USING (type)
"""


class Measures:
    """Sets the gauges of one process.

    Args:
        database: where to look.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run_outbox(self) -> None:
        """Look at what waits every few seconds until cancelled."""
        await _repeat(self.measure_outbox, OUTBOX_SECONDS)

    async def run_drift(self) -> None:
        """Look at what reconciliations found, now and then until cancelled."""
        await _repeat(self.measure_drift, DRIFT_SECONDS)

    async def measure_outbox(self) -> None:
        """Set the gauges of what waits; a revocation that waits for long is logged."""
        async with self._database.connection() as connection:
            rows = {row["kind"]: row for row in await connection.fetch(_OUTBOX)}
        for kind in ("any", "revocation"):
            PENDING.labels(kind).set(rows[kind]["pending"] if kind in rows else 0)
            OLDEST.labels(kind).set(rows[kind]["age"] if kind in rows else 0)
        DEAD.set(rows["any"]["dead"] if "any" in rows else 0)
        age = rows["revocation"]["age"] if "revocation" in rows else 0
        if age >= WARN_SECONDS:
            tell = log.critical if age >= CRITICAL_SECONDS else log.warning
            tell("a revocation is not delivered", seconds=round(age), pending=rows["revocation"]["pending"])

    async def measure_drift(self) -> None:
        """Set the gauges of what the last reconciliations left."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_DRIFT)
        DRIFT.clear()
        for row in rows:
            RECONCILED.labels(row["type"]).set(row["age"])
            if row["class"] is not None:
                DRIFT.labels(row["type"], row["class"]).set(row["count"])


async def _repeat(measure: Callable[[], Awaitable[None]], seconds: float) -> NoReturn:
    while True:
        with contextlib.suppress(Unavailable, *UNREACHABLE):
            await measure()
        await asyncio.sleep(seconds)
