"""What an engine elsewhere holds of a resource, who delivers to it now, and what is still to be delivered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from remit.authz.engine import Connection
from remit.authz.ids import encode_id
from remit.authz.model import Relationship, Resource
from remit.authz.postgres import PostgresEngine

# SpiceDB takes 1,000 updates in one write; some are left for the version.
MOST_UPDATES = 900

KEY = "resource_type, resource_id, relation, subject_type, subject_id, subject_relation"

# Versions grow by chance amounts: after a restore of this database the same number is not given twice. Whoever held the
# lease and did not give it back has died or lost this database: that counts as an attempt.
_LEASE = """
INSERT INTO projections AS p (resource_type, resource_id, fence, leased_until)
VALUES ($1, $2, greatest(1, $4::bigint) + floor(random() * 1000000)::bigint, now() + $3::interval)
ON CONFLICT (resource_type, resource_id) DO UPDATE
   SET fence = greatest(p.fence, $4::bigint) + 1 + floor(random() * 1000000)::bigint,
       attempts = p.attempts + (p.leased_until IS NOT NULL)::int, leased_until = now() + $3::interval
 WHERE p.leased_until IS NULL OR p.leased_until < now()
RETURNING fence, delivered_version, now() AS began, attempts > 0 AS unsure
"""

# Both sets in one snapshot with the entries that it has seen: an entry that commits later keeps its place. Where an
# earlier attempt ended nobody knows how ($6), nothing counts as delivered, and whatever was taken away since the oldest
# entry may have been: what was written and taken away again in between is in neither of the two sets.
_DIFFERENCE = f"""
WITH local AS (
  SELECT {KEY}, expires_at FROM relationships WHERE resource_type = $3 AND resource_id = $4
     AND (expires_at IS NULL OR expires_at > now())
), held AS (
  SELECT {KEY}, expires_at FROM projected_relationships WHERE resource_type = $3 AND resource_id = $4
), perhaps AS (
  SELECT {KEY} FROM held
  UNION
  SELECT {KEY} FROM relationship_history WHERE $6 AND resource_type = $3 AND resource_id = $4
     AND removed_at >= coalesce(
       (SELECT min(o.created_at) FROM outbox o WHERE o.resource_type = $1 AND o.resource_id = $2), '-infinity')
), taken AS (
  SELECT {KEY}, NULL::timestamptz AS expires_at, TRUE AS removed FROM perhaps LEFT JOIN local l USING ({KEY})
   WHERE l.relation IS NULL
), given AS (
  SELECT {KEY}, l.expires_at, FALSE AS removed FROM local l LEFT JOIN held h USING ({KEY})
   WHERE $6 OR h.relation IS NULL OR h.expires_at IS DISTINCT FROM l.expires_at
)
SELECT d.*, NULL::bigint AS entry, NULL::boolean AS forward
  FROM (SELECT * FROM taken UNION ALL SELECT * FROM given ORDER BY removed DESC LIMIT $5) d
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, o.id, o.forward
  FROM outbox o WHERE o.resource_type = $1 AND o.resource_id = $2
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to deliver to a resource's projection, for a time.

    Attributes:
        resource: the resource.
        fence: the version that this holder writes; greater than that of every holder before.
        delivered: the version that was delivered last, None for none.
        began: when, by the database's clock.
        unsure: attempts since that delivery have ended nobody knows how, so the projection may hold more than is known.
    """

    resource: Resource
    fence: int
    delivered: int | None
    began: datetime
    unsure: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """What a projection lacks.

    Attributes:
        touch: relationships that hold and were not delivered.
        delete: relationships that were delivered and hold no more.
        entries: ids of the outbox entries that are settled by it.
        forward: the agent of the task is to be called.
        whole: nothing was left out for its size.
        gone: no relationship of the resource is left.
        unsure: it is against a projection that is not known.
    """

    touch: tuple[Relationship, ...]
    delete: tuple[Relationship, ...]
    entries: tuple[int, ...]
    forward: bool
    whole: bool
    gone: bool
    unsure: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send; where the projection is not known, its version at least is."""
        return not self.touch and not self.delete and not self.unsure


async def take_lease(connection: Connection, resource: Resource, length: timedelta, beyond: int = 0) -> Lease | None:
    """Become the one who delivers to a resource's projection; None while another one is.

    Args:
        connection: with or without a transaction; what is taken must be committed before anything is sent.
        resource: the resource, whose id is a UUID.
        length: longer than the delivery can take. Who holds a lease longer than that meets its successor's version.
        beyond: a version that the engine elsewhere has, which the lease's must exceed.
    """
    stored = str(encode_id(resource.type, resource.id))
    row = await connection.fetchrow(_LEASE, resource.type, stored, length, beyond)
    if row is None:
        return None
    return Lease(resource, row["fence"], row["delivered_version"], row["began"], row["unsure"])


async def read_difference(connection: Connection, engine: PostgresEngine, lease: Lease) -> Difference:
    """What is to be delivered now under a lease."""
    resource = lease.resource
    stored = str(encode_id(resource.type, resource.id))
    type_code = engine.codes.types[resource.type]
    rows = await connection.fetch(_DIFFERENCE, resource.type, stored, type_code, stored, MOST_UPDATES + 1, lease.unsure)
    changes = [row for row in rows if row["entry"] is None]
    entries = [row for row in rows if row["entry"] is not None]
    sent = changes[:MOST_UPDATES]
    relationships = await engine.decode_rows(connection, [tuple(row)[:7] for row in sent])
    removed = [row["removed"] for row in sent]
    left = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM relationships WHERE resource_type = $1 AND resource_id = $2)", type_code, stored
    )
    return Difference(
        touch=tuple(one for one, gone in zip(relationships, removed, strict=True) if not gone),
        delete=tuple(one for one, gone in zip(relationships, removed, strict=True) if gone),
        entries=tuple(row["entry"] for row in entries),
        forward=any(row["forward"] for row in entries),
        whole=len(changes) <= MOST_UPDATES,
        gone=not left,
        # What an attempt may have sent has been in the relationships, so there is nothing where there never was one.
        unsure=lease.unsure and bool(left or changes or lease.delivered is not None),
    )


async def settle(
    connection: Connection, engine: PostgresEngine, lease: Lease, difference: Difference, token: str | None
) -> float | None:
    """Record what was delivered, in the caller's transaction.

    Args:
        connection: in a transaction.
        engine: for the codes.
        lease: under which it was delivered.
        difference: what was delivered.
        token: the engine's zedtoken of the change, kept on the resource's row, and on the tenant for what it shares.

    Returns:
        Seconds since the oldest change that is delivered by it; None if another one holds the lease by now.
    """
    resource = lease.resource
    stored = str(encode_id(resource.type, resource.id))
    status = await connection.execute(
        "UPDATE projections SET delivered_version = CASE WHEN $4 THEN delivered_version ELSE fence END,"
        " leased_until = NULL, retry_at = NULL, attempts = 0, last_error = NULL"
        " WHERE resource_type = $1 AND resource_id = $2 AND fence = $3",
        resource.type,
        stored,
        lease.fence,
        difference.is_empty,
    )
    if status != "UPDATE 1":
        return None
    for gone, relationships in ((True, difference.delete), (False, difference.touch)):
        columns = engine.encode_columns(relationships)
        if gone and relationships:
            await connection.execute(
                "DELETE FROM projected_relationships r USING unnest($1::smallint[], $2::uuid[], $3::smallint[],"
                f" $4::smallint[], $5::uuid[], $6::smallint[], $7::timestamptz[]) i({KEY}, expires_at)"
                " WHERE (r.resource_type, r.resource_id, r.relation, r.subject_type, r.subject_id, r.subject_relation)"
                " = (i.resource_type, i.resource_id, i.relation, i.subject_type, i.subject_id, i.subject_relation)",
                *columns,
            )
        elif relationships:
            await connection.execute(
                f"INSERT INTO projected_relationships ({KEY}, expires_at) SELECT * FROM unnest($1::smallint[],"
                " $2::uuid[], $3::smallint[], $4::smallint[], $5::uuid[], $6::smallint[], $7::timestamptz[])"
                f" ON CONFLICT ({KEY}) DO UPDATE SET expires_at = EXCLUDED.expires_at",
                *columns,
            )
    if token is not None:
        await keep_token(connection, resource.type, [stored], lease.began, token)
    if not difference.whole:
        return 0.0
    seconds: float = await connection.fetchval(
        "WITH gone AS (DELETE FROM outbox WHERE id = ANY ($1::bigint[]) RETURNING created_at)"
        " SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM gone",
        list(difference.entries),
    )
    return seconds


_ROW_TABLES = {"task": "tasks", "agent": "agents", "api_key": "agent_api_keys"}
_SHARED_BY_TENANT = {
    "tenant": "SELECT unnest($1::uuid[])",
    "agent": "SELECT tenant_id FROM agents WHERE id = ANY ($1::uuid[])",
    "group": "SELECT tenant_id FROM groups WHERE id = ANY ($1::uuid[])",
}


# A token is kept with the time its delivery took, `r1.<began>.<ended>.<the engine's own>`, so that of two tokens the
# later one can be told. Where it cannot, as the deliveries overlapped, `r0` says so and the engine answers as fresh as
# it can.
def span_sql(began: str) -> str:
    """The beginning of a statement that keeps a token: `span.began` and `span.ended`, in microseconds since 1970."""
    return f"""
WITH span AS (
  SELECT (extract(epoch FROM {began}::timestamptz) * 1000000)::bigint AS began,
         (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS ended
)
"""


_OF_ROW = f"""{span_sql("$2")}
UPDATE {{table}} SET authz_zedtoken = 'r1.' || span.began || '.' || span.ended || '.' || $3::text
  FROM span WHERE id = ANY ($1::uuid[])
"""
_OF_TENANT = f"""{span_sql("$2")}
UPDATE tenants t SET authz_zedtoken = CASE
    WHEN t.authz_zedtoken IS NULL OR split_part(t.authz_zedtoken, '.', 3)::bigint < span.began
      THEN 'r1.' || span.began || '.' || span.ended || '.' || $3::text
    ELSE 'r0.' || least(split_part(t.authz_zedtoken, '.', 2)::bigint, span.began)
         || '.' || greatest(split_part(t.authz_zedtoken, '.', 3)::bigint, span.ended) END
  FROM span WHERE t.id IN ({{tenants}})
"""


async def keep_token(
    connection: Connection, resource_type: str, ids: Sequence[str], began: datetime, token: str
) -> None:
    """Keep the token of a delivery on the rows of its resources, and on their tenants for what these share.

    Args:
        connection: in a transaction.
        resource_type: the type of all.
        ids: their stored ids.
        began: when the delivery did, by the database's clock.
        token: the engine's.
    """
    values: list[Any] = [list(ids), began, token]
    table = _ROW_TABLES.get(resource_type)
    if table is not None:
        await connection.execute(_OF_ROW.format(table=table), *values)
    tenants = _SHARED_BY_TENANT.get(resource_type)
    if tenants is not None:
        await connection.execute(_OF_TENANT.format(tenants=tenants), *values)


async def put_off(connection: Connection, lease: Lease, error: str, retry_in: timedelta) -> None:
    """Give the lease back after a failure that may pass; the worker tries again after a time."""
    await connection.execute(
        "UPDATE projections SET leased_until = NULL, retry_at = now() + $4::interval, attempts = attempts + 1,"
        " last_error = $5 WHERE resource_type = $1 AND resource_id = $2 AND fence = $3",
        lease.resource.type,
        str(encode_id(lease.resource.type, lease.resource.id)),
        lease.fence,
        retry_in,
        error,
    )


async def give_up(connection: Connection, lease: Lease, entries: tuple[int, ...], error: str) -> None:
    """Mark entries as dead after an error that will not pass; they are listed until someone decides."""
    await put_off(connection, lease, error, timedelta(0))
    await connection.execute(
        "UPDATE outbox SET dead_at = now(), last_error = $2, attempts = attempts + 1 WHERE id = ANY ($1::bigint[])",
        list(entries),
        error,
    )


async def read_history(connection: Connection, engine: PostgresEngine, resource: Resource) -> list[Relationship]:
    """Relationships of a resource that held once and were removed: what a write of unknown outcome may have left."""
    rows = await connection.fetch(
        f"SELECT DISTINCT {KEY}, NULL::timestamptz FROM relationship_history"
        " WHERE resource_type = $1 AND resource_id = $2",
        engine.codes.types[resource.type],
        str(encode_id(resource.type, resource.id)),
    )
    return await engine.decode_rows(connection, [tuple(row) for row in rows])
