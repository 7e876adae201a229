"""Shadow: what relationships would have answered, compared with what roles did answer.

Requests only leave their question and answer; one loop of the process asks the relationships and stores what it finds,
so that a slow engine slows nobody. It takes the newest question first, and a small share of the process's time, less
still while requests need that time. The oldest questions are counted and forgotten where too many wait. Differences are
kept apart by direction: `would_deny` is somebody who loses something, `would_allow` is a hole.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import asyncpg
import structlog

from remit.authz.errors import AuthzError, translate_database_errors
from remit.authz.explain import explain
from remit.authz.model import Resource, Subject
from remit.authz.overlay import overlay_sql
from remit.authz.reconcile.rows import KINDS
from remit.authz.roles import Roles
from remit.db.params import Params
from remit.errors import AuthorizationUnavailable
from remit.ids import new_id
from remit.telemetry.metrics import SHADOW_COMPARISONS, SHADOW_DROPPED

if TYPE_CHECKING:
    from remit.authz.elsewhere import Elsewhere
    from remit.authz.postgres import PostgresEngine
    from remit.db.pool import Connection, Database
    from remit.identity.principal import Principal

log = structlog.get_logger(__name__)

Outcome = Literal["both_allow", "both_deny", "would_deny", "would_allow", "unknown"]
Class = Literal["agree", "not_backfilled", "drift", "model_difference", "stale", "engine_error"]

MOST_WAITING: Final = 1000
MOST_SAMPLES: Final = 20
BATCH: Final = 5
# The share of its time in which a process compares: requests are served by the same process. Less than one request in
# twenty meets a comparison, so that it shows in no percentile that anybody watches.
SHARE: Final = 0.03
SHARE_WHEN_BUSY: Final = 0.005
# A process that used more of a core than this in the last pause is busy.
BUSY: Final = 0.3
LONGEST_PAUSE_SECONDS: Final = 5.0

EXPLANATIONS: Final[dict[Class, str]] = {
    "not_backfilled": "The resource has no relationships yet: `remit authz backfill`.",
    "drift": "The engine elsewhere holds something else than the local relationships: `remit authz reconcile`.",
    "model_difference": "Roles and relationships differ in meaning here: `remit authz why` shows the path or its gap.",
    "stale": "Between the request and the comparison it was deleted or the answer changed, or a delivery is pending.",
    "engine_error": "The engine gave no answer.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that roles have answered."""

    principal: Principal
    permission: str
    resource: Resource
    roles: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of a comparison; of some differences with the relationships that decide."""

    asked: Asked
    outcome: Outcome
    kind: Class
    facts: str = ""


class Shadow:
    """Compares the questions of one process.

    Args:
        database: where rows and relationships are, and where findings are stored.
        engine: the local relationships.
        elsewhere: the engine that would decide, None where the local relationships would.
    """

    def __init__(self, database: Database, engine: PostgresEngine, elsewhere: Elsewhere | None) -> None:
        self._database = database
        self._engine = engine
        self._elsewhere = elsewhere
        self._waiting: deque[Asked] = deque(maxlen=MOST_WAITING)
        self._noted = asyncio.Event()

    def note(self, asked: Asked) -> None:
        """Have a question compared; where too many wait already, the oldest is not."""
        if len(self._waiting) == MOST_WAITING:
            SHADOW_DROPPED.inc()
        self._waiting.append(asked)
        self._noted.set()

    async def run(self) -> None:
        """Compare what is noted, until cancelled."""
        busy = False
        while True:
            await self._noted.wait()
            began = time.monotonic()
            batch = [self._waiting.pop() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._waiting:
                self._noted.clear()
            await self._compare_all(batch)
            share = SHARE_WHEN_BUSY if busy else SHARE
            pause = min(LONGEST_PAUSE_SECONDS, (time.monotonic() - began) * (1 / share - 1))
            used = time.process_time()
            await asyncio.sleep(pause)
            busy = time.process_time() - used > BUSY * pause

    async def _compare_all(self, batch: list[Asked]) -> None:
        found = [await self.compare(asked) for asked in batch]
        for one in found:
            SHADOW_COMPARISONS.labels(one.asked.resource.type, one.asked.permission, one.outcome, one.kind).inc()
        found = [one if one.kind == "agree" else replace(one, facts=await self._explain(one.asked)) for one in found]
        async with self._database.transaction() as connection:
            await store(connection, found)

    async def _explain(self, asked: Asked) -> str:
        """The relationships that allow it, or one that would."""
        subject = Subject(asked.principal.kind, asked.principal.id)
        try:
            async with self._database.connection() as connection:
                why = await explain(self._engine, connection, subject, asked.permission, asked.resource)
        except (AuthzError, asyncpg.PostgresError) as error:
            return f"It could not be explained: {error}"
        if why.allowed:
            return "Allowed by " + ", ".join(str(fact) for fact in why.path)
        if why.unfinished:
            return "What it takes was not found in time."
        return "It takes " + (" or ".join(str(fact) for fact in why.missing[:3]) or "more than one relationship")

    async def compare(self, asked: Asked) -> Compared:
        """Ask the relationships what roles have answered."""
        try:
            return await self._compare(asked)
        except (AuthzError, AuthorizationUnavailable, asyncpg.PostgresError) as error:
            log.warning("a comparison failed", cause=repr(error))
            return Compared(asked, "unknown", "engine_error")

    async def _compare(self, asked: Asked) -> Compared:
        principal, resource = asked.principal, asked.resource
        params, subject = Params(), Subject(principal.kind, principal.id)
        id = params.add(resource.id, "uuid")
        question = (asked.permission, resource.type, id)
        roles = Roles(self._engine).check_sql(params, subject, principal.tenant_id, *question)
        local = self._engine.check_sql(params, subject, *question)
        known = overlay_sql(params, self._engine, subject, principal.tenant_id, *question)
        registered, gone = "TRUE", "FALSE"
        if resource.type != "tenant":
            home = Subject("tenant", principal.tenant_id)
            registered = self._engine.check_sql(params, home, "tenant", resource.type, id)
        if (kind := KINDS.get(resource.type)) is not None:
            gone = f"NOT EXISTS (SELECT FROM {kind.table} t WHERE t.id = {id} AND {kind.alive})"
        columns = {"roles": roles, "local": local, "known": known, "registered": registered, "gone": gone}
        statement = "SELECT " + ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
        with translate_database_errors():
            async with self._database.connection() as connection:
                row = await connection.fetchrow(statement, *params.values)
        assert row is not None, "a SELECT without FROM has one row"
        answer: bool = row["local"]
        if self._elsewhere is not None and self._elsewhere.answers(principal):
            (said,) = await self._elsewhere.check(principal, [(asked.permission, resource)], None)
            answer = row["known"] == "yes" or (said and row["known"] == "ask")
        if answer == asked.roles:
            return Compared(asked, "both_allow" if answer else "both_deny", "agree")
        outcome: Outcome = "would_allow" if answer else "would_deny"
        return Compared(asked, outcome, _classify(row, asked.roles, answer))


def _classify(row: asyncpg.Record, roles: bool, answer: bool) -> Class:
    if row["gone"] or row["roles"] != roles or (row["known"] != "ask" and row["local"] != answer):
        return "stale"
    if not row["registered"]:
        return "not_backfilled"
    return "drift" if row["local"] != answer else "model_difference"


_COUNT = """
INSERT INTO authz_shadow_counts AS c (tenant_id, resource_type, permission, outcome, class, count)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, resource_type, permission, outcome, class)
DO UPDATE SET count = c.count + EXCLUDED.count, last_at = now()
"""
_SAMPLE = """
INSERT INTO authz_shadow_samples (id, tenant_id, resource_type, resource_id, permission, outcome, class, subject_type,
                                  subject_id, explanation)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
 WHERE (SELECT count(*) FROM authz_shadow_samples s
         WHERE s.tenant_id = $2 AND s.resource_type = $3 AND s.outcome = $6 AND s.class = $7) < $11
"""


async def store(connection: Connection, found: list[Compared]) -> None:
    """Add comparisons to the counts, and some of the differences to the samples, in the caller's transaction."""
    counts = Counter(
        (one.asked.principal.tenant_id, one.asked.resource.type, one.asked.permission, one.outcome, one.kind)
        for one in found
    )
    for key, count in sorted(counts.items()):  # in one order, so that two processes do not wait for each other
        await connection.execute(_COUNT, *key, count)
    for one in found:
        if one.kind != "agree":
            asked = one.asked
            await connection.execute(
                _SAMPLE,
                new_id(),
                asked.principal.tenant_id,
                asked.resource.type,
                asked.resource.id,
                asked.permission,
                one.outcome,
                one.kind,
                asked.principal.kind,
                asked.principal.id,
                f"{EXPLANATIONS[one.kind]} {one.facts}".strip(),
                MOST_SAMPLES,
            )


async def forget(connection: Connection, tenant_id: str, resource_type: str | None) -> int:
    """Remove counts and samples of a tenant, in the caller's transaction; return how many comparisons they were."""
    where = "tenant_id = $1 AND ($2::text IS NULL OR resource_type = $2)"
    await connection.execute(f"DELETE FROM authz_shadow_samples WHERE {where}", tenant_id, resource_type)
    forgotten: int = await connection.fetchval(
        f"WITH gone AS (DELETE FROM authz_shadow_counts WHERE {where} RETURNING count)"
        " SELECT coalesce(sum(count), 0)::bigint FROM gone",
        tenant_id,
        resource_type,
    )
    return forgotten
