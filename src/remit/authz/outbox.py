"""The outbox: which resources' relationships a transaction changed, recorded in that transaction.

An entry carries no payload. Whoever delivers sends the difference between what holds locally at that moment and what
was delivered last (`projection.py`), so that entries that come twice, late or out of order cannot hurt.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from remit.authz.engine import Connection
from remit.authz.ids import encode_id
from remit.authz.model import Resource
from remit.authz.relationship_sql import Codes
from remit.db.params import Params

CHANNEL = "remit_outbox"

# The tenant of a resource by its row; None for types that have no rows here.
_TENANT = """CASE e.resource_type
  WHEN 'tenant' THEN (SELECT id FROM tenants WHERE id = e.resource_id)
  WHEN 'task' THEN (SELECT tenant_id FROM tasks WHERE id = e.resource_id)
  WHEN 'agent' THEN (SELECT tenant_id FROM agents WHERE id = e.resource_id)
  WHEN 'api_key' THEN (SELECT tenant_id FROM agent_api_keys WHERE id = e.resource_id)
  WHEN 'group' THEN (SELECT tenant_id FROM groups WHERE id = e.resource_id)
END"""


def entry_sql(params: Params, resource: Resource, tenant_id: str, *, when: str) -> str:
    """An `INSERT INTO outbox …` to be one part of a `WITH`, for a new resource.

    Args:
        params: the statement's parameters.
        resource: what is registered.
        tenant_id: its tenant.
        when: a SQL condition; nothing is recorded where it is false.
    """
    type, id = params.add(resource.type, "text"), params.add(resource.id, "uuid")
    return (
        "INSERT INTO outbox (tenant_id, resource_type, resource_id, version)"
        f" SELECT {params.add(tenant_id, 'uuid')}, {type}, {id}, pg_current_xact_id()::text::bigint WHERE {when}"
    )


async def add_entries(connection: Connection, codes: Codes, changed: Mapping[tuple[int, UUID], bool]) -> None:
    """Record in the caller's transaction that resources have changed.

    Args:
        connection: in the transaction that changes them.
        codes: of types.
        changed: by code of the type and stored id, whether a relationship was removed.
    """
    if not changed:
        return
    names = {code: name for name, code in codes.types.items()}
    await connection.execute(
        "INSERT INTO outbox (tenant_id, resource_type, resource_id, version, revocation)"
        f" SELECT {_TENANT}, e.resource_type, e.resource_id, pg_current_xact_id()::text::bigint, e.revocation"
        " FROM unnest($1::text[], $2::uuid[], $3::int[]) e (resource_type, resource_id, revocation)",
        [names[code] for code, _ in changed],
        [id for _, id in changed],
        [int(removed) for removed in changed.values()],
    )


@dataclass(frozen=True, slots=True)
class Pending:
    """A resource whose projection is behind, as the command line lists it.

    Attributes:
        tenant: name of its tenant, None where it has none.
        resource: the resource.
        entries: how many changes wait.
        revocation: whether one of them takes something away.
        attempts: how often delivery was tried.
        since: the oldest change.
        dead_at: when it was given up, None while it is tried again.
        last_error: why the last try failed.
    """

    tenant: str | None
    resource: Resource
    entries: int
    revocation: bool
    attempts: int
    since: datetime
    dead_at: datetime | None
    last_error: str | None


MOST_LISTED = 1000
_LIST = """
SELECT n.name, o.resource_type, coalesce(min(i.text), o.resource_id::text) AS resource_id,
       count(*) AS entries, max(o.revocation) > 0 AS revocation,
       max(coalesce(p.attempts, 0)) AS attempts, min(o.created_at) AS since, max(o.dead_at) AS dead_at,
       coalesce(max(o.last_error), max(p.last_error)) AS last_error
  FROM outbox o
  LEFT JOIN projections p USING (resource_type, resource_id)
  LEFT JOIN tenants n ON n.id = o.tenant_id
  LEFT JOIN authz_types t ON t.name = o.resource_type
  LEFT JOIN authz_ids i ON i.type = t.code AND i.id = o.resource_id
 GROUP BY n.name, o.resource_type, o.resource_id ORDER BY max(o.revocation) DESC, min(o.id) LIMIT $1
"""


async def list_pending(connection: Connection, limit: int = MOST_LISTED) -> list[Pending]:
    """Resources whose projection is behind: revocations first, then the oldest."""
    rows = await connection.fetch(_LIST, limit)
    return [
        Pending(
            row["name"],
            Resource(row["resource_type"], row["resource_id"]),
            row["entries"],
            row["revocation"],
            row["attempts"],
            row["since"],
            row["dead_at"],
            row["last_error"],
        )
        for row in rows
    ]


async def last_entry(connection: Connection) -> int:
    """The newest entry there is, 0 where nothing waits."""
    newest: int = await connection.fetchval("SELECT coalesce(max(id), 0) FROM outbox")
    return newest


async def count_waiting(connection: Connection, upto: int) -> tuple[int, int]:
    """How many entries up to one wait for delivery, and how many of them were given up."""
    row = await connection.fetchrow(
        "SELECT count(*) FILTER (WHERE dead_at IS NULL) AS waiting, count(dead_at) AS dead FROM outbox WHERE id <= $1",
        upto,
    )
    assert row is not None, "an aggregate has one row"
    return row["waiting"], row["dead"]


async def revive(connection: Connection, resource: Resource | None) -> int:
    """Have given up or waiting entries tried again at once, of one resource or of all; return how many entries."""
    type, id = (resource.type, str(encode_id(resource.type, resource.id))) if resource else (None, None)
    await connection.execute(
        "UPDATE projections SET retry_at = now(), attempts = 0"
        " WHERE $1::text IS NULL OR (resource_type = $1 AND resource_id = $2::uuid)",
        type,
        id,
    )
    status = await connection.execute(
        "UPDATE outbox SET dead_at = NULL, last_error = NULL"
        " WHERE dead_at IS NOT NULL AND ($1::text IS NULL OR (resource_type = $1 AND resource_id = $2::uuid))",
        type,
        id,
    )
    return int(status.split()[-1])


async def discard(connection: Connection, resource: Resource) -> int:
    """Forget the entries of a resource that were given up; the next change of it delivers everything."""
    status = await connection.execute(
        "DELETE FROM outbox WHERE dead_at IS NOT NULL AND resource_type = $1 AND resource_id = $2::uuid",
        resource.type,
        str(encode_id(resource.type, resource.id)),
    )
    return int(status.split()[-1])


async def forward_later(connection: Connection, resource: Resource) -> bool:
    """Have whoever delivers a task's registration call its agent afterwards; False if it has been delivered by now."""
    status = await connection.execute(
        "UPDATE outbox SET forward = TRUE WHERE resource_type = $1 AND resource_id = $2::uuid",
        resource.type,
        resource.id,
    )
    return bool(status != "UPDATE 0")


def resources_of(rows: Iterable[tuple[int, UUID]], removed: Iterable[tuple[int, UUID]]) -> dict[tuple[int, UUID], bool]:
    """What `add_entries` takes: resources written, and those from which something was removed."""
    return {**dict.fromkeys(rows, False), **dict.fromkeys(removed, True)}
