"""The end of agents' keys: deleted by a caller, or removed where they never began."""

from datetime import timedelta

from remit.agent_api_keys.service import API_KEY, AgentRef, KeyType, authorize_named
from remit.audit import write_audit
from remit.authz.caller import Caller
from remit.authz.engine import Engine
from remit.authz.guard import absent, authorize, label_of
from remit.authz.model import Resource
from remit.authz.registration import deregister
from remit.db.pool import Connection, Database

PENDING_AT_MOST = timedelta(minutes=5)


async def delete_key(caller: Caller, key_id: str) -> None:
    """Delete a key: what it let in is refused from the next request on.

    Raises:
        NotFound, Forbidden: it is absent for the caller, or he may not delete it.
    """
    await authorize(caller, API_KEY, "delete", id=key_id, columns="t.id")
    await _end(caller, key_id, label_of(id=key_id))


async def delete_named_key(caller: Caller, agent: AgentRef, name: str, key_type: KeyType) -> None:
    """Delete a key by its name; as `delete_key` for the id that the name stands for now."""
    found = await authorize_named(caller, "delete", agent, name, key_type, "t.id")
    await _end(caller, found["id"], label_of(name=name))


async def _end(caller: Caller, key_id: str, label: str) -> None:
    async with caller.database.transaction() as connection:
        if not await remove(connection, caller.engine, key_id, actor=caller.actor, request_id=caller.request_id):
            raise absent(label)
        await write_audit(connection, caller.audit_entry("api_key.delete", "done", Resource("api_key", key_id)))


async def remove(connection: Connection, engine: Engine, key_id: str, *, actor: str, request_id: str | None) -> bool:
    """Remove a key with its relationships, in the caller's transaction; False when it was gone."""
    resource = Resource("api_key", key_id)
    # First, while the row still says whose tenant the deregistration belongs to.
    await deregister(engine, connection, resource, actor=actor, request_id=request_id)
    gone = await connection.fetchval("DELETE FROM agent_api_keys WHERE id = $1 RETURNING id", key_id)
    return gone is not None


async def remove_pending_keys(database: Database, engine: Engine) -> int:
    """Remove keys that stayed pending, with their relationships: whoever made them was never shown a secret."""
    async with database.transaction() as connection:
        rows = await connection.fetch(
            "SELECT id FROM agent_api_keys WHERE status = 'pending' AND created_at < now() - $1::interval "
            "FOR UPDATE SKIP LOCKED",
            PENDING_AT_MOST,
        )
        for row in rows:
            await remove(connection, engine, row["id"], actor="worker", request_id=None)
    return len(rows)
