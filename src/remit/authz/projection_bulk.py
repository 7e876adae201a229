"""What `projection` does for one resource, for many at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from remit.authz.engine import Connection
from remit.authz.ids import encode_text
from remit.authz.model import Resource
from remit.authz.projection import KEY, MOST_UPDATES, Lease, keep_token, span_sql

Item = TypeVar("Item")

_LEASES = """
INSERT INTO projections AS p (resource_type, resource_id, fence, leased_until)
SELECT $1, w.id, 1 + floor(random() * 1000000)::bigint, now() + $3::interval FROM unnest($2::uuid[]) w (id)
ON CONFLICT (resource_type, resource_id) DO UPDATE
   SET fence = p.fence + 1 + floor(random() * 1000000)::bigint,
       attempts = p.attempts + (p.leased_until IS NOT NULL)::int, leased_until = now() + $3::interval
 WHERE p.leased_until IS NULL OR p.leased_until < now()
RETURNING resource_id::text AS id, fence, delivered_version, now() AS began, attempts > 0 AS unsure
"""


def in_writes(items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Items in parts that fit into one write each.

    Args:
        items: what is written.
        size: how many updates one takes, its version counted in.
    """
    part: list[Item] = []
    total = 0
    for item in items:
        own = size(item)
        if part and total + own > MOST_UPDATES:
            yield part
            part, total = [], 0
        part.append(item)
        total += own
    if part:
        yield part


async def take_leases(connection: Connection, resources: Sequence[Resource], length: timedelta) -> list[Lease]:
    """`take_lease` for many resources of one type; those that another one delivers to are left out."""
    by_id = {encode_text(resource.type, resource.id): resource for resource in resources}
    rows = await connection.fetch(_LEASES, resources[0].type, sorted(by_id), length)
    return [
        Lease(by_id[row["id"]], row["fence"], row["delivered_version"], row["began"], row["unsure"]) for row in rows
    ]


async def free_leases(connection: Connection, leases: Sequence[Lease]) -> None:
    """Give leases back that nothing was delivered under."""
    await connection.execute(
        "UPDATE projections p SET leased_until = NULL"
        " FROM unnest($1::text[], $2::uuid[], $3::bigint[]) l (type, id, fence)"
        " WHERE p.resource_type = l.type AND p.resource_id = l.id AND p.fence = l.fence",
        *_columns_of(leases),
    )


_PUT_OFF = """
UPDATE projections p SET leased_until = NULL, attempts = p.attempts + 1, last_error = $4,
       retry_at = now() + least($5::interval, interval '0.5 seconds' * 2 ^ least(p.attempts, 10))
  FROM unnest($1::text[], $2::uuid[], $3::bigint[]) l (type, id, fence)
 WHERE p.resource_type = l.type AND p.resource_id = l.id AND p.fence = l.fence
"""


async def put_off_all(connection: Connection, leases: Sequence[Lease], error: str, longest: timedelta) -> None:
    """Give leases back after a failure that may pass; the worker tries again, ever more seldom."""
    await connection.execute(_PUT_OFF, *_columns_of(leases), error, longest)


_SETTLED = """
UPDATE projections p SET delivered_version = CASE WHEN l.sent THEN p.fence ELSE p.delivered_version END,
       leased_until = NULL, retry_at = NULL, attempts = 0, last_error = NULL
  FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::boolean[]) l (type, id, fence, sent)
 WHERE p.resource_type = l.type AND p.resource_id = l.id AND p.fence = l.fence
RETURNING p.resource_id::text AS id
"""
_PROJECT = f"""
INSERT INTO projected_relationships ({KEY}, expires_at) SELECT * FROM unnest($1::smallint[],
  $2::uuid[], $3::smallint[], $4::smallint[], $5::uuid[], $6::smallint[], $7::timestamptz[])
"""


async def settle_all(
    connection: Connection, delivered: Mapping[Resource, tuple[Lease, Sequence[Sequence[Any]], bool]]
) -> set[Resource]:
    """Record that the projections of resources of one type are just these, in the caller's transaction.

    Args:
        connection: in a transaction.
        delivered: of each the lease, the rows of its relationships, and whether anything was written for it.

    Returns:
        Of which resources; those whose lease another one holds by now are left out.
    """
    leases = [lease for lease, _, _ in delivered.values()]
    sent = [written for _, _, written in delivered.values()]
    by_id = {encode_text(one.type, one.id): one for one in delivered}
    rows = await connection.fetch(_SETTLED, *_columns_of(leases), sent)
    done = {by_id[row["id"]] for row in rows}
    changed = [one for one in done if delivered[one][2]]
    if changed:
        facts = [row for one in changed for row in delivered[one][1]]
        await connection.execute(
            "DELETE FROM projected_relationships r USING authz_types t WHERE t.name = $1"
            " AND r.resource_type = t.code AND r.resource_id = ANY ($2::uuid[])",
            changed[0].type,
            [encode_text(one.type, one.id) for one in changed],
        )
        if facts:
            await connection.execute(_PROJECT, *(list(column) for column in zip(*facts, strict=True)))
    return done


async def keep_tokens(connection: Connection, leases: Sequence[Lease], token: str) -> None:
    """Keep the token of a write with the resources of one type that it was for, in the caller's transaction."""
    if leases:
        type = leases[0].resource.type
        ids = [encode_text(type, lease.resource.id) for lease in leases]
        await keep_token(connection, type, ids, min(lease.began for lease in leases), token)


def _columns_of(leases: Sequence[Lease]) -> tuple[list[str], list[str], list[int]]:
    return (
        [lease.resource.type for lease in leases],
        [encode_text(lease.resource.type, lease.resource.id) for lease in leases],
        [lease.fence for lease in leases],
    )


_COVER = f"""{span_sql("$1")}
UPDATE tenants t SET authz_zedtoken = 'r1.' || span.began || '.' || span.ended || '.' || $2::text
  FROM span WHERE t.authz_zedtoken IS NULL OR split_part(t.authz_zedtoken, '.', 3)::bigint < span.began
"""
_UNCOVERED = """
SELECT EXISTS (SELECT FROM tenants WHERE authz_zedtoken IS NULL OR
  split_part(authz_zedtoken, '.', 2)::bigint < (extract(epoch FROM $1::timestamptz) * 1000000)::bigint)
"""


async def cover_all_tenants(connection: Connection, began: datetime, token: str) -> bool:
    """Have answers about every tenant's resources know what was written before `began`.

    Args:
        connection: in a transaction.
        began: when reading the token began, by the database's clock; all those writes had ended.
        token: the engine's zedtoken of a moment after that.

    Returns:
        False where a delivery overlapped, of which it cannot be told whether it came before: to be done once more.
    """
    await connection.execute(_COVER, began, token)
    return not await connection.fetchval(_UNCOVERED, began)
