"""API keys of users, service accounts and agents: made, listed, revoked. They are credentials, not resources."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from remit.authz.model import Subject
from remit.db.pool import Connection
from remit.identity.secrets import KeyKind, hash_secret, make_secret, visible_prefix
from remit.ids import new_id

_KEY_KINDS: dict[str, KeyKind] = {"user": "user", "service_account": "service", "agent": "agent"}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `secret` is nowhere else and cannot be had again."""

    id: str
    secret: str


async def insert_key(
    connection: Connection,
    *,
    tenant_id: str,
    holder: Subject,
    name: str | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """Make a key for a user, a service account or an agent, in the caller's transaction.

    Args:
        connection: in a transaction.
        tenant_id: the holder's tenant.
        holder: who may use it.
        name: what it is for.
        expires_at: when it ends by itself; None for never.
    """
    key = NewKey(new_id(), make_secret(_KEY_KINDS[holder.type]))
    await connection.execute(
        "INSERT INTO api_keys (id, tenant_id, subject_id, agent_id, name, prefix, secret_hash, expires_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        key.id,
        tenant_id,
        None if holder.type == "agent" else holder.id,
        holder.id if holder.type == "agent" else None,
        name,
        visible_prefix(key.secret),
        hash_secret(key.secret),
        expires_at,
    )
    return key


async def list_keys(connection: Connection, tenant_id: str) -> list[asyncpg.Record]:
    """The keys of a tenant, newest first: id, holder, prefix and dates, never the secret."""
    rows: list[asyncpg.Record] = await connection.fetch(
        """
        SELECT k.id, coalesce(s.kind, 'agent') AS holder_type, coalesce(s.external_id, a.name) AS holder, k.name,
               k.prefix, k.created_at, k.last_used_at, k.expires_at, k.revoked_at
          FROM api_keys k LEFT JOIN subjects s ON s.id = k.subject_id LEFT JOIN agents a ON a.id = k.agent_id
         WHERE k.tenant_id = $1 ORDER BY k.id DESC
        """,
        tenant_id,
    )
    return rows


async def revoke_key(connection: Connection, key_id: str) -> Literal["revoked", "was revoked"] | None:
    """End a key; the next request with it is refused.

    Returns:
        What happened, None when there is no such key.
    """
    row = await connection.fetchrow(
        """
        WITH found AS (SELECT id, revoked_at FROM api_keys WHERE id = $1),
        ended AS (
          UPDATE api_keys SET revoked_at = now() FROM found
           WHERE api_keys.id = found.id AND found.revoked_at IS NULL
        )
        SELECT revoked_at FROM found
        """,
        key_id,
    )
    if row is None:
        return None
    return "revoked" if row["revoked_at"] is None else "was revoked"
