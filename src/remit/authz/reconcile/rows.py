"""Rows against local relationships: what a row should be registered with, and what is there."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from remit.authz.engine import Connection
from remit.authz.ids import encode_text
from remit.authz.model import Relationship, Resource, Subject, subjects_in
from remit.authz.postgres import PostgresEngine
from remit.authz.reads import COLUMNS
from remit.authz.reconcile.findings import Finding


@dataclass(frozen=True, slots=True)
class RowKind:
    """A type whose resources are rows of a table.

    Attributes:
        type: the definition in the schema.
        table: of its rows.
        alive: SQL over the alias `t`.
        parent: the column of the parent agent, None where there is none.
    """

    type: str
    table: str
    alive: str
    parent: str | None


KINDS: Final = {
    "agent": RowKind("agent", "agents", "t.status <> 'Deleted'", None),
    "task": RowKind("task", "tasks", "t.status <> 'DELETED'", "agent_id"),
    "api_key": RowKind("api_key", "agent_api_keys", "t.status = 'active'", "agent_id"),
}


async def read_rows(
    connection: Connection, kind: RowKind, tenant_id: str, after: str, limit: int
) -> list[asyncpg.Record]:
    """The next rows of a tenant that are not deleted, by id."""
    rows: list[asyncpg.Record] = await connection.fetch(
        f"{_select_rows(kind)} AND t.tenant_id = $1 AND t.id > $2::uuid ORDER BY t.id LIMIT $3",
        tenant_id,
        after,
        limit,
    )
    return rows


async def lock_rows(connection: Connection, kind: RowKind, ids: Sequence[str]) -> list[asyncpg.Record]:
    """Those of some rows that are not deleted, held against deletion for the rest of the caller's transaction."""
    rows: list[asyncpg.Record] = await connection.fetch(
        f"{_select_rows(kind)} AND t.id = ANY ($1::uuid[]) ORDER BY t.id FOR SHARE",
        list(ids),
    )
    return rows


def _select_rows(kind: RowKind) -> str:
    """Of rows that are not deleted."""
    return (
        "SELECT t.id::text AS id, t.creator_user_id, t.creator_service_account_id, t.creator_agent_id,"
        f" {f't.{kind.parent}' if kind.parent else 'NULL'} AS parent_id FROM {kind.table} t WHERE {kind.alive}"
    )


async def count_rows(connection: Connection, kind: RowKind, tenant_id: str) -> tuple[int, int]:
    """How many rows a tenant has, and how many there are in all, deleted ones included."""
    row = await connection.fetchrow(
        f"SELECT count(*) FILTER (WHERE tenant_id = $1) AS own, count(*) AS every FROM {kind.table}", tenant_id
    )
    assert row is not None, "an aggregate has one row"
    return row["own"], row["every"]


async def read_relationships(
    connection: Connection, engine: PostgresEngine, type: str, ids: Sequence[str]
) -> dict[str, list[Relationship]]:
    """The local relationships of resources of one type, by id."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM relationships WHERE resource_type = $1 AND resource_id = ANY ($2::uuid[])"
        " AND (expires_at IS NULL OR expires_at > now())",
        engine.codes.types[type],
        [encode_text(type, id) for id in ids],
    )
    found: dict[str, list[Relationship]] = defaultdict(list)
    for one in await engine.decode_rows(connection, [tuple(row) for row in rows]):
        found[one.resource.id].append(one)
    return found


async def read_subject_tenants(connection: Connection, relationships: Sequence[Relationship]) -> dict[str, str]:
    """The tenant of each owner, by its id."""
    owners = {one.subject.id for one in relationships if one.relation == "owner"}
    rows = await connection.fetch(
        "SELECT id::text AS id, tenant_id::text AS tenant_id FROM subjects WHERE id = ANY ($1::uuid[])"
        " UNION ALL SELECT id::text, tenant_id::text FROM groups WHERE id = ANY ($1::uuid[])"
        " UNION ALL SELECT id::text, tenant_id::text FROM agents WHERE id = ANY ($1::uuid[])",
        sorted(owners),
    )
    return {row["id"]: row["tenant_id"] for row in rows}


def compare_row(
    kind: RowKind, tenant_id: str, row: Any, there: Sequence[Relationship], tenants: dict[str, str]
) -> list[Finding]:
    """What is wrong with one row's relationships.

    Args:
        kind: of the row.
        tenant_id: the row's tenant.
        row: from `read_rows`.
        there: its relationships.
        tenants: of owners, from `read_subject_tenants`.
    """
    resource = Resource(kind.type, row["id"])
    creator = _creator_of(row)
    expected = _expected(kind, resource, tenant_id, row["parent_id"], creator)
    findings = [] if creator else [Finding("no_creator", resource)]
    if not there:
        return [*findings, Finding("unregistered", resource, tuple(expected))]
    findings += _compare_single(resource, there, "tenant", Subject("tenant", tenant_id))
    if kind.parent:
        findings += _compare_single(resource, there, "parent_agent", Subject("agent", row["parent_id"]))
    owners = subjects_in(there, "owner")
    if creator and not owners:
        findings.append(Finding("missing_owner", resource, (Relationship(resource, "owner", creator),)))
    for owner in owners:
        if tenants.get(owner.id, tenant_id) != tenant_id:
            findings.append(Finding("wrong_owner", resource, detail=f"{owner} is of another tenant"))
    return findings


def _compare_single(
    resource: Resource, there: Sequence[Relationship], relation: str, expected: Subject
) -> list[Finding]:
    name = "tenant" if relation == "tenant" else "parent"
    related = subjects_in(there, relation)
    findings = [
        Finding(
            "wrong_tenant" if name == "tenant" else "wrong_parent",
            resource,
            detail=f"{relation} is {other}, the row says {expected}",
        )
        for other in related
        if other != expected
    ]
    if expected not in related:
        missing = Finding(
            "missing_tenant" if name == "tenant" else "missing_parent",
            resource,
            (Relationship(resource, relation, expected),),
        )
        # Beside a wrong one it is not written: which of the two is right is for a person to say.
        return findings or [missing]
    return findings


def _creator_of(row: Any) -> Subject | None:
    for column, type in (
        ("creator_user_id", "user"),
        ("creator_service_account_id", "service_account"),
        ("creator_agent_id", "agent"),
    ):
        if row[column] is not None:
            return Subject(type, row[column])
    return None


def _expected(
    kind: RowKind, resource: Resource, tenant_id: str, parent_id: str | None, creator: Subject | None
) -> list[Relationship]:
    relationships = [Relationship(resource, "tenant", Subject("tenant", tenant_id))]
    if kind.parent and parent_id:
        relationships.append(Relationship(resource, "parent_agent", Subject("agent", parent_id)))
    if kind.type == "agent":
        relationships.append(Relationship(Resource("tenant", tenant_id), "agent_member", Subject("agent", resource.id)))
        # While roles decided, every member could use it.
        relationships.append(Relationship(resource, "viewer", Subject("tenant", tenant_id, "member")))
    if creator is not None and not (kind.type == "agent" and creator.type == "agent"):
        relationships.append(Relationship(resource, "owner", creator))
    return relationships


_DANGLING = """
SELECT r.resource_id::text AS id FROM relationships r
 WHERE r.subject_type = $3 AND r.subject_id = $4 AND r.subject_relation = 0 AND r.resource_type = $1
   AND r.relation = $2 AND r.resource_id > $5::uuid AND r.resource_id <= $6::uuid
   AND NOT EXISTS (SELECT FROM {table} t WHERE t.id = r.resource_id AND {alive})
   AND NOT EXISTS (SELECT FROM authz_ids i WHERE i.type = $1 AND i.id = r.resource_id)
 ORDER BY r.resource_id LIMIT $7
"""


async def read_dangling(
    connection: Connection, engine: PostgresEngine, kind: RowKind, tenant_id: str, after: str, until: str, limit: int
) -> list[str]:
    """Ids of a tenant's resources that have relationships and no row, or a deleted one.

    Resources of a server that asks this one as its provider have no rows by design and are not among them.

    Args:
        connection: where to look.
        engine: of the relationships.
        kind: of the rows.
        tenant_id: the tenant that the resources are related to.
        after: the id that they come after.
        until: the last id that is looked at.
        limit: most ids.
    """
    rows = await connection.fetch(
        _DANGLING.format(table=kind.table, alive=kind.alive),
        engine.codes.types[kind.type],
        engine.codes.relations.get("tenant", 0),
        engine.codes.types.get("tenant", 0),
        tenant_id,
        after,
        until,
        limit,
    )
    return [row["id"] for row in rows]
