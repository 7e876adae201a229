"""Names on the command line: what people call a subject or a resource, and the id that the graph knows it by."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from remit.authz.ids import is_canonical
from remit.authz.model import Resource, Subject
from remit.authz.sharing import SubjectType, find_subject
from remit.cli.context import fail
from remit.db.pool import Connection

_OBJECT = re.compile(r"(?P<type>[a-z][a-z0-9_]*):(?P<id>[^#]+)(?:#(?P<relation>[a-z][a-z0-9_]*))?")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where the things of a type are: SQL over the table `t` and its tenant `n`."""

    table: str
    name: str
    usable: str
    which: str = "TRUE"
    tenant: str = "t.tenant_id"


_ENABLED = "t.disabled_at IS NULL"
_ROWS = {
    "user": _Rows("subjects", "t.external_id", _ENABLED, "t.kind = 'user'"),
    "service_account": _Rows("subjects", "t.external_id", _ENABLED, "t.kind = 'service_account'"),
    "group": _Rows("groups", "t.name", _ENABLED),
    "agent": _Rows("agents", "t.name", "t.status <> 'Deleted'"),
    "task": _Rows("tasks", "t.name", "t.status <> 'DELETED'"),
    "tenant": _Rows("tenants", "t.name", _ENABLED, tenant="t.id"),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How something that the graph names stands in the tables.

    Attributes:
        tenant_id: the tenant it belongs to.
        usable: neither it nor its tenant is disabled or deleted.
    """

    tenant_id: str
    usable: bool


async def find_member(
    connection: Connection, tenant_id: str, kind: str, name: str, *, disabled: bool = False
) -> Subject:
    """A user, service account or group of a tenant, as a subject; a group stands for its members.

    Raises:
        Invalid: the tenant has none of that name, or it is disabled where `disabled` does not allow that.
    """
    return await find_subject(connection, tenant_id, cast("SubjectType", kind), name, field=kind, disabled=disabled)


async def name_subjects(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """What people call subjects, agents, groups and tenants, by id."""
    rows = await connection.fetch(
        "SELECT id, external_id AS name FROM subjects WHERE id = ANY($1::uuid[]) "
        "UNION ALL SELECT id, name FROM groups WHERE id = ANY($1::uuid[]) "
        "UNION ALL SELECT id, name FROM agents WHERE id = ANY($1::uuid[]) "
        "UNION ALL SELECT id, name FROM tenants WHERE id = ANY($1::uuid[])",
        list(ids),
    )
    return {row["id"]: row["name"] for row in rows}


async def find_resource(connection: Connection, tenant_id: str | None, text: str) -> Resource:
    """The resource that `type:id` or `type:name` means.

    Args:
        connection: where to look.
        tenant_id: where names are looked up; ids need none.
        text: as typed.
    """
    type, id, relation = _split(text)
    if relation is not None:
        fail(f"'{text}' is a set, and a resource is needed here: type:id")
    return Resource(type, await _find_id(connection, tenant_id, type, id))


async def find_any_subject(connection: Connection, tenant_id: str | None, text: str) -> Subject:
    """The subject that `type:id`, `type:name` or, for a set, `type:id#relation` means."""
    type, id, relation = _split(text)
    return Subject(type, await _find_id(connection, tenant_id, type, id), relation)


def _split(text: str) -> tuple[str, str, str | None]:
    match = _OBJECT.fullmatch(text)
    if match is None:
        fail(f"'{text}' is not of the form type:id, as task:0198… or user:alice or group:research#member")
    return match["type"], match["id"], match["relation"]


async def _find_id(connection: Connection, tenant_id: str | None, type: str, id: str) -> str:
    rows = _ROWS.get(type)
    if rows is None or id == "*" or _account_of(id) is not None:
        return id
    is_uuid = is_canonical(id)
    if is_uuid and (tenant_id is None or await find_standing(connection, type, id) is not None):
        return id
    if tenant_id is None and type != "tenant":
        fail(f"'{type}:{id}' is a name: say whose with --tenant, or use the id")
    # The name of what was deleted is free again; that of what was disabled is not.
    found: str | None = await connection.fetchval(
        f"SELECT t.id FROM {rows.table} t WHERE {rows.which} AND {rows.name} = $1 "
        f"AND ($2::uuid IS NULL OR {rows.tenant} = $2) AND ({rows.usable} OR NOT $3) "
        f"ORDER BY {rows.usable} DESC LIMIT 1",
        id,
        None if type == "tenant" else tenant_id,
        type in ("agent", "task"),
    )
    if found is None and not is_uuid:
        fail(f"there is no {type.replace('_', ' ')} '{id}'" + (" in this tenant" if type != "tenant" else ""))
    return found or id


async def find_standing(connection: Connection, type: str, id: str) -> Standing | None:
    """How a resource or a subject stands, None if no table has it."""
    rows = _ROWS.get(type)
    if (account := _account_of(id)) is not None:
        rows, id = _ROWS["tenant"], account
    if rows is None or not is_canonical(id):
        return None
    row = await connection.fetchrow(
        f"SELECT n.id AS tenant_id, {rows.usable} AND n.disabled_at IS NULL AS usable FROM {rows.table} t "
        f"JOIN tenants n ON n.id = {rows.tenant} WHERE {rows.which} AND t.id = $1",
        id,
    )
    return Standing(**row) if row else None


def _account_of(id: str) -> str | None:
    """The tenant of a resource of another server, whose id begins with it; None for any other id."""
    account, slash, _ = id.partition("/")
    return account if slash and is_canonical(account) else None
