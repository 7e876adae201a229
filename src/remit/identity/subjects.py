"""Users and service accounts: made, found, listed, disabled, given their role in the tenant.

Every function works in the caller's transaction. The role is a relationship (`tenant:T#member@user:U`), written in the
transaction of the row, so that neither is ever there without the other.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from remit.authz.engine import Engine
from remit.authz.model import Relationship, Resource, Subject
from remit.db.pool import Connection
from remit.errors import Conflict, Invalid, NotFound
from remit.identity.operator import operator_name, record_change
from remit.ids import new_id

SubjectKind = Literal["user", "service_account"]
TenantRole = Literal["admin", "member", "viewer"]

ROLES: tuple[TenantRole, ...] = ("admin", "member", "viewer")
LONGEST_NAME = 512


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """A user or service account.

    Attributes:
        id: what relationships and creator columns hold.
        kind: `user` or `service_account`.
        name: the external id: what its identity provider, or whoever made it by hand, calls it.
        issuer: who says so; `remit` for those made by hand.
        display_name: for people to read.
        created_at: when it was made.
        disabled_at: set while its credentials are refused.
    """

    id: str
    kind: SubjectKind
    name: str
    issuer: str
    display_name: str | None
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedSubject(SubjectRow):
    """With the strongest role that it holds itself; one that it has through a group is not among them."""

    role: str | None


_COLUMNS = "id, kind, external_id AS name, issuer, display_name, created_at, disabled_at"
_FIND = f"""
SELECT {_COLUMNS} FROM subjects WHERE tenant_id = $1 AND kind = $2 AND (external_id = $3 OR id::text = $3)
 ORDER BY external_id = $3 DESC, issuer = 'remit' DESC LIMIT 1
"""


async def create_subject(
    connection: Connection,
    engine: Engine,
    tenant_id: str,
    kind: SubjectKind,
    name: str,
    *,
    role: TenantRole = "member",
    display_name: str | None = None,
) -> str:
    """Make a user or service account with its role in the tenant, and return its id.

    Raises:
        Invalid: it cannot be a name.
        Conflict: the tenant has one of that name, perhaps a disabled one.
    """
    _check_text("name", name)
    if display_name is not None:
        _check_text("display name", display_name)
    subject_id = new_id()
    made = await connection.fetchval(
        "INSERT INTO subjects (id, tenant_id, kind, external_id, display_name) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (tenant_id, kind, issuer, external_id) DO NOTHING RETURNING id",
        subject_id,
        tenant_id,
        kind,
        name,
        display_name,
    )
    if made is None:
        raise Conflict(f"The tenant has a {_label(kind)} named '{name}' already, perhaps disabled.")
    await engine.write(
        connection,
        touch=[Relationship(Resource("tenant", tenant_id), role, Subject(kind, subject_id))],
        actor=operator_name(),
    )
    detail: dict[str, object] = {"name": name, "role": role}
    await record_change(connection, tenant_id, f"{kind}.create", Resource(kind, subject_id), detail)
    return subject_id


async def find_subject_row(
    connection: Connection, tenant_id: str, kind: SubjectKind, name: str, *, enabled: bool = False
) -> SubjectRow:
    """The user or service account of a tenant by its name or id.

    Args:
        connection: where to look.
        tenant_id: its tenant.
        kind: which of the two.
        name: external id or id; one made by hand goes before one of an identity provider with the same name.
        enabled: it is for a change that makes no sense while it is disabled.

    Raises:
        NotFound: the tenant has none.
        Conflict: it is disabled and must not be.
    """
    row = await connection.fetchrow(_FIND, tenant_id, kind, name)
    if row is None:
        raise NotFound(
            f"The tenant has no {_label(kind)} named '{name}'; `remit {_command(kind)} list` shows those there are."
        )
    subject = SubjectRow(**row)
    if enabled and subject.disabled_at is not None:
        raise Conflict(f"The {_label(kind)} '{name}' is disabled; `remit {_command(kind)} enable` enables it.")
    return subject


async def list_subjects(
    connection: Connection, engine: Engine, tenant_id: str, kind: SubjectKind
) -> list[ListedSubject]:
    """The users, or the service accounts, of a tenant by name, the disabled ones too."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM subjects WHERE tenant_id = $1 AND kind = $2 ORDER BY external_id, issuer",
        tenant_id,
        kind,
    )
    held: dict[str, set[str]] = {}
    for fact in await engine.read(connection, Resource("tenant", tenant_id)):
        if fact.subject.type == kind:
            held.setdefault(fact.subject.id, set()).add(fact.relation)
    return [
        ListedSubject(**row, role=next((role for role in ROLES if role in held.get(row["id"], ())), None))
        for row in rows
    ]


async def set_role(
    connection: Connection, engine: Engine, tenant_id: str, kind: SubjectKind, name: str, role: TenantRole
) -> bool:
    """Give a user or service account another role in its tenant; the one it had is taken away.

    Returns:
        Whether that changed anything.

    Raises:
        NotFound, Conflict: as `find_subject_row` for one that must be enabled.
    """
    found = await find_subject_row(connection, tenant_id, kind, name, enabled=True)
    # Two changes at once would each leave the role that the other wrote.
    await connection.execute("SELECT 1 FROM subjects WHERE id = $1 FOR NO KEY UPDATE", found.id)
    tenant, subject = Resource("tenant", tenant_id), Subject(kind, found.id)
    held = [
        fact for fact in await engine.read(connection, tenant) if fact.subject == subject and fact.relation in ROLES
    ]
    if [fact.relation for fact in held] == [role]:
        return False
    await engine.write(
        connection,
        touch=[Relationship(tenant, role, subject)],
        delete=[fact for fact in held if fact.relation != role],
        actor=operator_name(),
    )
    detail: dict[str, object] = {"name": found.name, "role": role, "before": [fact.relation for fact in held]}
    await record_change(connection, tenant_id, f"{kind}.role", Resource(kind, found.id), detail)
    return True


async def disable_subject(connection: Connection, tenant_id: str, kind: SubjectKind, name: str) -> bool:
    """Refuse every key of a user or service account from its next request on.

    Its keys and relationships stay as they are, so that `enable_subject` gives back exactly what it had.

    Returns:
        Whether it was enabled until now.

    Raises:
        NotFound: the tenant has none.
    """
    return await _set_disabled(connection, tenant_id, kind, name, disabled=True)


async def enable_subject(connection: Connection, tenant_id: str, kind: SubjectKind, name: str) -> bool:
    """Accept the keys of a user or service account again; the opposite of `disable_subject`."""
    return await _set_disabled(connection, tenant_id, kind, name, disabled=False)


async def _set_disabled(
    connection: Connection, tenant_id: str, kind: SubjectKind, name: str, *, disabled: bool
) -> bool:
    subject = await find_subject_row(connection, tenant_id, kind, name)
    changed = await connection.fetchval(
        "UPDATE subjects SET disabled_at = CASE WHEN $2 THEN now() END "
        "WHERE id = $1 AND (disabled_at IS NULL) = $2 RETURNING id",
        subject.id,
        disabled,
    )
    if changed is None:
        return False
    action = f"{kind}.disable" if disabled else f"{kind}.enable"
    await record_change(connection, tenant_id, action, Resource(kind, subject.id), {"name": subject.name})
    return True


def _check_text(field: str, text: str) -> None:
    if not text or text != text.strip() or not text.isprintable() or len(text) > LONGEST_NAME:
        raise Invalid(
            [(field, f"must be 1 to {LONGEST_NAME} printable characters without space at the beginning or end")]
        )


def _label(kind: SubjectKind) -> str:
    return kind.replace("_", " ")


def _command(kind: SubjectKind) -> str:
    return "users" if kind == "user" else "service-accounts"
