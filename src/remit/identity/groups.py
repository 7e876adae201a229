"""Groups: made, listed, joined, left, disabled. Members are relationships (`group:G#member@user:U`); groups may nest.

Every function works in the caller's transaction and writes its audit row.

A disabled group is empty. Disabling removes its members, as relationships that move to the history, and nobody can
join until it is enabled: from that moment nothing that was given to the group, or to a group that it is a member of,
reaches anybody through it, and no check has to know about disabled groups. What was given to it stays written on the
resources, so that enabling it and letting members join again is enough to use it again; the members do not come back by
themselves.
"""

from dataclasses import dataclass
from datetime import datetime

from remit.authz.engine import Engine
from remit.authz.model import Relationship, Resource, Subject
from remit.db.pool import Connection
from remit.errors import Conflict, Invalid, NotFound
from remit.identity.operator import operator_name, record_change
from remit.identity.tenants import check_name
from remit.ids import new_id

MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Group:
    """A group. `disabled_at` is set while it is empty and nobody can join."""

    id: str
    name: str
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedGroup(Group):
    """With the number of its direct members."""

    members: int


_COLUMNS = "id, name, created_at, disabled_at"


async def create_group(connection: Connection, tenant_id: str, name: str) -> str:
    """Make an empty group and return its id.

    Raises:
        Invalid: it cannot be a name.
        Conflict: the tenant has one of that name, perhaps a disabled one.
    """
    group_id = new_id()
    made = await connection.fetchval(
        "INSERT INTO groups (id, tenant_id, name) VALUES ($1, $2, $3) "
        "ON CONFLICT (tenant_id, name) DO NOTHING RETURNING id",
        group_id,
        tenant_id,
        check_name(name),
    )
    if made is None:
        raise Conflict(f"The tenant has a group named '{name}' already, perhaps disabled.")
    await record_change(connection, tenant_id, "group.create", Resource("group", group_id), {"name": name})
    return group_id


async def find_group(connection: Connection, tenant_id: str, name: str, *, enabled: bool = False) -> Group:
    """The group of a tenant by its name or id.

    Args:
        connection: where to look.
        tenant_id: its tenant.
        name: its name or id.
        enabled: it is for a change that makes no sense while it is disabled.

    Raises:
        NotFound: the tenant has none.
        Conflict: it is disabled and must not be.
    """
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM groups WHERE tenant_id = $1 AND (name = $2 OR id::text = $2) "
        "ORDER BY name = $2 DESC LIMIT 1",
        tenant_id,
        name,
    )
    if row is None:
        raise NotFound(f"The tenant has no group named '{name}'; `remit groups list` shows those there are.")
    group = Group(**row)
    if enabled and group.disabled_at is not None:
        raise Conflict(f"The group '{group.name}' is disabled; `remit groups enable` enables it.")
    return group


async def list_groups(connection: Connection, engine: Engine, tenant_id: str) -> list[ListedGroup]:
    """The groups of a tenant by name, the disabled ones too."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM groups WHERE tenant_id = $1 ORDER BY name", tenant_id)
    return [ListedGroup(**row, members=len(await list_members(connection, engine, row["id"]))) for row in rows]


async def list_members(connection: Connection, engine: Engine, group_id: str) -> list[Subject]:
    """The direct members of a group; a group among them stands for all of its own members."""
    return [fact.subject for fact in await engine.read(connection, Resource("group", group_id), MEMBER)]


async def add_member(connection: Connection, engine: Engine, tenant_id: str, name: str, member: Subject) -> bool:
    """Let a user, a service account or another group join a group.

    Args:
        connection: in a transaction.
        engine: where memberships are.
        tenant_id: the group's tenant.
        name: the group's name or id.
        member: who joins; a group as `group:G#member`.

    Returns:
        False when it is a direct member already.

    Raises:
        NotFound, Conflict: there is no such group, or it is disabled.
        Invalid: a group would be inside itself.
    """
    group = await prepare_join(connection, engine, tenant_id, name, member)
    if member in await list_members(connection, engine, group.id):
        return False
    resource = Resource("group", group.id)
    await engine.write(connection, touch=[Relationship(resource, MEMBER, member)], actor=operator_name())
    detail: dict[str, object] = {"name": group.name, "member": str(member)}
    await record_change(connection, tenant_id, "group.join", resource, detail)
    return True


async def prepare_join(connection: Connection, engine: Engine, tenant_id: str, name: str, member: Subject) -> Group:
    """The group, if a member may be written to it; until the end of the transaction nothing can change that.

    Raises:
        NotFound, Conflict, Invalid: as `add_member`.
    """
    await _lock_groups(connection, tenant_id)
    group = await find_group(connection, tenant_id, name, enabled=True)
    if member.type == "group" and await _is_inside(connection, engine, group.id, member.id):
        raise Invalid([("group", f"'{group.name}' is inside the group that would join it, directly or through others")])
    return group


async def remove_member(connection: Connection, engine: Engine, tenant_id: str, name: str, member: Subject) -> None:
    """Take a direct member out of a group.

    Raises:
        NotFound: there is no such group, or it has no such direct member.
    """
    group = await find_group(connection, tenant_id, name)
    if member not in await list_members(connection, engine, group.id):
        raise NotFound(f"That is no direct member of the group '{group.name}'; `remit groups members` shows who is.")
    resource = Resource("group", group.id)
    await engine.write(connection, delete=[Relationship(resource, MEMBER, member)], actor=operator_name())
    detail: dict[str, object] = {"name": group.name, "member": str(member)}
    await record_change(connection, tenant_id, "group.leave", resource, detail)


async def disable_group(connection: Connection, engine: Engine, tenant_id: str, name: str) -> list[Subject] | None:
    """Empty a group and let nobody join; see the module.

    Returns:
        The members that it had, None when it is disabled already.

    Raises:
        NotFound: the tenant has none.
    """
    await _lock_groups(connection, tenant_id)
    group = await find_group(connection, tenant_id, name)
    if not await _set_disabled(connection, group.id, disabled=True):
        return None
    members = await list_members(connection, engine, group.id)
    resource = Resource("group", group.id)
    await engine.write(
        connection, delete=[Relationship(resource, MEMBER, member) for member in members], actor=operator_name()
    )
    detail: dict[str, object] = {"name": group.name, "members": [str(member) for member in members]}
    await record_change(connection, tenant_id, "group.disable", resource, detail)
    return members


async def enable_group(connection: Connection, tenant_id: str, name: str) -> bool:
    """Let members join a group again. It is empty.

    Returns:
        Whether it was disabled until now.

    Raises:
        NotFound: the tenant has none.
    """
    group = await find_group(connection, tenant_id, name)
    if not await _set_disabled(connection, group.id, disabled=False):
        return False
    await record_change(connection, tenant_id, "group.enable", Resource("group", group.id), {"name": group.name})
    return True


async def _lock_groups(connection: Connection, tenant_id: str) -> None:
    # Otherwise two groups that join each other at the same moment each do not see it, and a member who joins while the
    # group is disabled stays.
    await connection.execute("SELECT 1 FROM tenants WHERE id = $1 FOR NO KEY UPDATE", tenant_id)


async def _set_disabled(connection: Connection, group_id: str, *, disabled: bool) -> bool:
    changed = await connection.fetchval(
        "UPDATE groups SET disabled_at = CASE WHEN $2 THEN now() END "
        "WHERE id = $1 AND (disabled_at IS NULL) = $2 RETURNING id",
        group_id,
        disabled,
    )
    return changed is not None


async def _is_inside(connection: Connection, engine: Engine, group_id: str, outer_id: str) -> bool:
    """Whether a group is another one, or among its members, at any depth."""
    seen: set[str] = set()
    waiting = [outer_id]
    while waiting:
        current = waiting.pop()
        if current == group_id:
            return True
        if current not in seen:
            seen.add(current)
            members = await list_members(connection, engine, current)
            waiting += [member.id for member in members if member.type == "group"]
    return False
