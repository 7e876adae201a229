"""An identity from outside becomes a principal: in which tenant, and as which subject, made when it is first seen."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg

from remit.audit import AuditEntry, write_audit
from remit.authz.model import Relationship, Resource, Subject
from remit.db.pool import Database
from remit.errors import BadRequest, Forbidden, Unauthenticated
from remit.identity.bearer_tokens import Identity
from remit.identity.principal import Principal
from remit.ids import new_id
from remit.paging import is_id

if TYPE_CHECKING:
    from remit.authz.engine import Engine

ACCOUNT_HEADER = "x-selected-account-id"

_FIND = """
SELECT n.id AS tenant_id, n.name AS tenant_name, s.id, s.disabled_at
  FROM tenants n
  LEFT JOIN subjects s ON s.tenant_id = n.id AND s.kind = $3 AND s.issuer = $4 AND s.external_id = $5
 WHERE (n.id = ANY($1::uuid[]) OR n.name = ANY($2::text[])) AND n.disabled_at IS NULL
"""


def check_selected(principal: Principal, selected: str | None) -> None:
    """Let a principal of one tenant select no other.

    Raises:
        Forbidden: the selected account is not his.
    """
    if selected is not None and selected not in (principal.tenant_id, principal.tenant_name):
        raise _not_a_member()


async def find_member(database: Database, engine: "Engine", identity: Identity, selected: str | None) -> Principal:
    """The principal of an identity.

    Args:
        database: where subjects are.
        engine: where the role of a new one is written.
        identity: who he is outside.
        selected: id or name of the tenant that he chose among his own, None where he did not.

    Raises:
        Forbidden: he belongs to no tenant here, or not to the one that he selected.
        BadRequest: he belongs to several and selected none.
        Unauthenticated: he is disabled in the tenant.
    """
    asked = [*identity.tenants, *([selected] if selected is not None else [])]
    async with database.connection() as connection:
        rows = await connection.fetch(
            _FIND,
            [one.lower() for one in asked if is_id(one)],
            asked,
            identity.kind,
            identity.issuer,
            identity.name,
        )
    own = [row for row in rows if _is_named(row, identity.tenants) or (identity.joined and row["id"] is not None)]
    if selected is not None:
        own = [row for row in own if _is_named(row, (selected,))]
    if not own:
        raise _not_a_member()
    if len(own) > 1:
        raise BadRequest(f"You belong to several accounts. Say which one is meant in the header {ACCOUNT_HEADER}.")
    row = own[0]
    id, disabled_at = row["id"], row["disabled_at"]
    if id is None:
        id, disabled_at = await _meet(database, engine, row["tenant_id"], identity)
    if disabled_at is not None:
        raise Unauthenticated("This account is disabled. A tenant admin can enable it.")
    return Principal(
        kind=identity.kind,
        id=id,
        tenant_id=row["tenant_id"],
        tenant_name=row["tenant_name"],
        name=identity.name,
        key_id=None,
        expires_at=identity.expires_at,
    )


async def is_member_still_good(database: Database, principal: Principal) -> bool:
    """Whether a principal that showed no API key would be let in now, for requests that last."""
    if principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
        return False
    async with database.connection() as connection:
        good: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM subjects s JOIN tenants n ON n.id = s.tenant_id "
            "WHERE s.id = $1 AND s.disabled_at IS NULL AND n.disabled_at IS NULL)",
            principal.id,
        )
    return good


async def _meet(
    database: Database, engine: "Engine", tenant_id: str, identity: Identity
) -> tuple[str, datetime | None]:
    """The subject of an identity that the tenant had not seen a statement ago, with the role that its issuer gives."""
    key = (tenant_id, identity.kind, identity.issuer, identity.name)
    async with database.transaction() as connection:
        made = await connection.fetchval(
            "INSERT INTO subjects (id, tenant_id, kind, issuer, external_id, display_name) "
            "VALUES ($1, $2, $3, $4, $5, $6) "
            "ON CONFLICT (tenant_id, kind, issuer, external_id) DO NOTHING RETURNING id",
            new_id(),
            *key,
            identity.display_name,
        )
        if made is None:
            # Another request met him at the same moment; whatever has become of him since holds.
            row = await connection.fetchrow(
                "SELECT id, disabled_at FROM subjects "
                "WHERE tenant_id = $1 AND kind = $2 AND issuer = $3 AND external_id = $4",
                *key,
            )
            assert row is not None, "subjects are never deleted"
            return row["id"], row["disabled_at"]
        subject = Subject(identity.kind, made)
        if identity.role is not None:
            role = Relationship(Resource("tenant", tenant_id), identity.role, subject)
            await engine.write(connection, touch=[role], actor=f"issuer:{identity.issuer}")
        await write_audit(
            connection,
            AuditEntry(
                tenant_id=tenant_id,
                actor_type=identity.kind,
                actor_id=made,
                action=f"{identity.kind}.first_seen",
                outcome="done",
                resource_type=identity.kind,
                resource_id=made,
                detail={"issuer": identity.issuer, "name": identity.name, "role": identity.role},
            ),
        )
    return made, None


def _is_named(row: asyncpg.Record, names: tuple[str, ...]) -> bool:
    return any(one == row["tenant_name"] or one.lower() == row["tenant_id"] for one in names)


def _not_a_member() -> Forbidden:
    return Forbidden("You do not belong to this account, or there is none.")
