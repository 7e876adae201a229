"""Names on the command line: what people call a subject or a resource, and the id that the graph knows it by."""

import re
from collections.abc import Sequence
from typing import cast

from remit.authz.model import Resource, Subject
from remit.authz.sharing import SubjectType, find_subject
from remit.cli.context import fail
from remit.db.pool import Connection

_OBJECT = re.compile(r"(?P<type>[a-z_]+):(?P<id>[^#@]+)(?:#(?P<relation>[a-z_]+))?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TABLES = {
    "user": "subjects t WHERE t.kind = 'user' AND t.external_id",
    "service_account": "subjects t WHERE t.kind = 'service_account' AND t.external_id",
    "group": "groups t WHERE t.name",
    "agent": "agents t WHERE t.status <> 'Deleted' AND t.name",
    "task": "tasks t WHERE t.status <> 'DELETED' AND t.name",
}


async def find_member(connection: Connection, tenant_id: str, kind: str, name: str) -> Subject:
    """A user, service account or group of a tenant, as a subject; a group stands for its members.

    Raises:
        Invalid: the tenant has none of that name, or it is disabled.
    """
    return await find_subject(connection, tenant_id, cast("SubjectType", kind), name, field=kind)


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
    if id == "*" or _UUID.fullmatch(id):
        return id
    if type == "tenant":
        found: str | None = await connection.fetchval("SELECT id FROM tenants WHERE name = $1", id)
    elif type not in _TABLES:
        return id
    elif tenant_id is None:
        fail(f"'{type}:{id}' is a name: say whose with --tenant, or use the id")
    else:
        found = await connection.fetchval(f"SELECT t.id FROM {_TABLES[type]} = $1 AND t.tenant_id = $2", id, tenant_id)
    if found is None:
        fail(f"there is no {type.replace('_', ' ')} '{id}'" + (" in this tenant" if type != "tenant" else ""))
    return found


async def find_tenant_of(connection: Connection, type: str, id: str) -> str | None:
    """The tenant that a resource or a subject belongs to, None if there is no such thing."""
    if not _UUID.fullmatch(id):
        return None
    if type == "tenant":
        statement = "SELECT id FROM tenants WHERE id = $1"
    elif type in _TABLES:
        statement = f"SELECT tenant_id FROM {_TABLES[type].split()[0]} WHERE id = $1"
    else:
        return None
    found: str | None = await connection.fetchval(statement, id)
    return found
