"""Tenants: made, found, listed, disabled. Every function works in the caller's transaction and writes its audit row."""

import re
from dataclasses import dataclass
from datetime import datetime

from remit.authz.model import Resource
from remit.db.pool import Connection
from remit.errors import Conflict, Invalid, NotFound
from remit.identity.operator import record_change
from remit.ids import new_id

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant. `disabled_at` is set while no credential of it is accepted."""

    id: str
    name: str
    created_at: datetime
    disabled_at: datetime | None


_COLUMNS = "id, name, created_at, disabled_at"


def check_name(name: str) -> str:
    """A name for a tenant or a group, unchanged if it is one.

    Raises:
        Invalid: it has other characters than letters, digits, `.`, `_` and `-`, begins with one of these three, or is
            longer than 63.
    """
    if not _NAME.fullmatch(name):
        raise Invalid([("name", "must be 1 to 63 letters, digits, '.', '_' or '-' and begin with a letter or digit")])
    return name


async def create_tenant(connection: Connection, name: str) -> str:
    """Make a tenant and return its id.

    Raises:
        Invalid: it cannot be a name.
        Conflict: the name is taken, perhaps by a tenant that is disabled.
    """
    tenant_id = new_id()
    made = await connection.fetchval(
        "INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING id",
        tenant_id,
        check_name(name),
    )
    if made is None:
        raise Conflict(f"There is a tenant named '{name}' already; choose another name.")
    await record_change(connection, tenant_id, "tenant.create", Resource("tenant", tenant_id), {"name": name})
    return tenant_id


async def find_tenant(connection: Connection, name: str, *, enabled: bool = False) -> Tenant:
    """The tenant of a name or id.

    Args:
        connection: where to look.
        name: its name or id.
        enabled: it is for a change that makes no sense while the tenant is disabled.

    Raises:
        NotFound: there is none.
        Conflict: it is disabled and must not be.
    """
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM tenants WHERE name = $1 OR id::text = $1 ORDER BY name = $1 DESC LIMIT 1", name
    )
    if row is None:
        raise NotFound(f"There is no tenant named '{name}'; `remit tenants list` shows those there are.")
    tenant = Tenant(**row)
    if enabled and tenant.disabled_at is not None:
        raise Conflict(f"The tenant '{tenant.name}' is disabled; `remit tenants enable {tenant.name}` enables it.")
    return tenant


async def list_tenants(connection: Connection) -> list[Tenant]:
    """All tenants by name, the disabled ones too."""
    return [Tenant(**row) for row in await connection.fetch(f"SELECT {_COLUMNS} FROM tenants ORDER BY name")]


async def disable_tenant(connection: Connection, name: str) -> bool:
    """Refuse every credential of a tenant from its next request on. Nothing is removed.

    Returns:
        Whether it was enabled until now.

    Raises:
        NotFound: there is none.
    """
    return await _set_disabled(connection, name, disabled=True)


async def enable_tenant(connection: Connection, name: str) -> bool:
    """Accept the credentials of a tenant again; the opposite of `disable_tenant`."""
    return await _set_disabled(connection, name, disabled=False)


async def _set_disabled(connection: Connection, name: str, *, disabled: bool) -> bool:
    tenant = await find_tenant(connection, name)
    changed = await connection.fetchval(
        "UPDATE tenants SET disabled_at = CASE WHEN $2 THEN now() END "
        "WHERE id = $1 AND (disabled_at IS NULL) = $2 RETURNING id",
        tenant.id,
        disabled,
    )
    if changed is None:
        return False
    action = "tenant.disable" if disabled else "tenant.enable"
    await record_change(connection, tenant.id, action, Resource("tenant", tenant.id), {"name": tenant.name})
    return True
