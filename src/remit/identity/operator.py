"""The operator: whoever runs the command line. He is no subject of any tenant; the trail knows him by his OS user."""

import os
import pwd

from remit.audit import AuditEntry, write_audit
from remit.authz.model import Resource
from remit.db.pool import Connection


def find_os_user() -> str:
    """The name of the user that this process runs as, its number where it has no name. The environment is not asked."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def operator_name() -> str:
    """The operator as histories name an actor."""
    return f"operator:{find_os_user()}"


def operator_entry(
    tenant_id: str, action: str, resource: Resource | None = None, detail: dict[str, object] | None = None
) -> AuditEntry:
    """An audit entry of something that the operator did.

    Args:
        tenant_id: the tenant it concerns.
        action: `user.create`, `key.revoke` ….
        resource: what was changed.
        detail: what else an auditor needs; never a secret.
    """
    return AuditEntry(
        tenant_id=tenant_id,
        actor_type="operator",
        actor_id=None,
        action=action,
        outcome="done",
        resource_type=resource.type if resource else None,
        resource_id=resource.id if resource else None,
        detail={"os_user": find_os_user(), **(detail or {})},
    )


async def record_change(
    connection: Connection,
    tenant_id: str,
    action: str,
    resource: Resource,
    detail: dict[str, object] | None = None,
) -> None:
    """Write the audit entry of an operator's change, in the change's own transaction."""
    await write_audit(connection, operator_entry(tenant_id, action, resource, detail))
