"""Who else may: the roles that a resource's owner gives to users, service accounts and groups of the tenant."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Literal, NoReturn

from pydantic import BaseModel, Field, StringConstraints

from remit.audit import write_audit
from remit.authz.caller import Caller
from remit.authz.delivery import Outcome
from remit.authz.errors import RelationshipError
from remit.authz.guard import ResourceKind, absent, authorize, label_of
from remit.authz.model import Relationship, Resource, Subject
from remit.db.pool import Connection
from remit.errors import Conflict, Forbidden, Invalid
from remit.validation import Moment

Role = Literal["viewer", "editor", "owner"]
SubjectType = Literal["user", "service_account", "group"]
SubjectName = Annotated[str, StringConstraints(min_length=1, max_length=512)]

ROLES: tuple[Role, ...] = ("viewer", "editor", "owner")


class ShareRequest(BaseModel):
    """Give a subject a role; the one it had on this resource is replaced."""

    subject_type: SubjectType
    subject_id: SubjectName = Field(description="External id of a user or service account, or a group's name.")
    role: Role
    expires_at: Moment | None = Field(None, description="When the role ends by itself.")


class Grant(BaseModel):
    """One role of one subject on a resource."""

    subject_type: str
    subject_id: str
    subject_relation: str | None
    role: str
    expires_at: datetime | None


class AccessList(BaseModel):
    """All roles given on a resource. Tenant admins and the parent agent have theirs without being listed."""

    grants: list[Grant]


_FIND_SUBJECT = """
SELECT id, disabled_at FROM subjects
 WHERE tenant_id = $1 AND kind = $2 AND (external_id = $3 OR id::text = $3)
 ORDER BY disabled_at IS NULL DESC, issuer = 'remit' DESC LIMIT 1
"""
_FIND_GROUP = """
SELECT id, disabled_at FROM groups WHERE tenant_id = $1 AND (name = $2 OR id::text = $2)
 ORDER BY disabled_at IS NULL DESC LIMIT 1
"""
_NAMES = """
SELECT id, external_id AS name FROM subjects WHERE tenant_id = $1 AND id = ANY($2::uuid[])
UNION ALL SELECT id, name FROM groups WHERE tenant_id = $1 AND id = ANY($2::uuid[])
UNION ALL SELECT id, name FROM agents WHERE tenant_id = $1 AND id = ANY($2::uuid[])
UNION ALL SELECT id, name FROM tenants WHERE id = $1 AND id = ANY($2::uuid[])
"""


async def find_subject(
    connection: Connection, tenant_id: str, subject_type: SubjectType, name: str, *, field: str, disabled: bool = False
) -> Subject:
    """The subject that a tenant knows by a name.

    Args:
        connection: with or without a transaction.
        tenant_id: the tenant.
        subject_type: its kind.
        name: its external id, its name or its id.
        field: where the request has the name.
        disabled: whether one that is disabled will do, as for taking its role.

    Raises:
        Invalid: the tenant has no such subject; one of another tenant is answered alike.
    """
    if subject_type == "group":
        found = await connection.fetchrow(_FIND_GROUP, tenant_id, name)
        relation = "member"
    else:
        found = await connection.fetchrow(_FIND_SUBJECT, tenant_id, subject_type, name)
        relation = None
    if found is None or (found["disabled_at"] is not None and not disabled):
        label = subject_type.replace("_", " ")
        raise Invalid([(field, f"must name a {label} of your tenant" + ("" if disabled else " that is not disabled"))])
    return Subject(subject_type, found["id"], relation)


async def list_access(caller: Caller, kind: ResourceKind, id: str) -> AccessList:
    """Who holds which role on a resource.

    Raises:
        NotFound: absent for this caller.
        Forbidden: he may read it but not share it.
    """
    await authorize(caller, kind, "share", id=id, columns="t.id")
    async with caller.database.connection() as connection:
        return await _read_access(caller, connection, Resource(kind.type, id))


async def share(caller: Caller, kind: ResourceKind, id: str, request: ShareRequest) -> AccessList:
    """Give a role.

    Raises:
        NotFound: as `list_access`.
        Forbidden: as there, or the engine that decides refuses the share.
        Invalid: no such subject in the tenant, or the schema has no such role for it.
        Conflict: it would take the role from the last owner, relationships are not kept in this mode, or the engine
            that decides cannot be told of such a role.
    """
    resource = Resource(kind.type, id)
    async with _locked_to_share(caller, kind, id) as connection:
        _refuse_without_registration(caller, kind)
        subject = await find_subject(
            connection, caller.principal.tenant_id, request.subject_type, request.subject_id, field="body.subject_id"
        )
        given = Relationship(resource, request.role, subject, request.expires_at)
        _refuse_untold(caller, given)
        grants = await caller.engine.read(connection, resource)
        others = [g for g in grants if g.relation in ROLES and g.subject == subject and g.relation != request.role]
        if request.role != "owner" or request.expires_at is not None:
            _keep_an_owner(grants, subject)
        try:
            await caller.engine.write(
                connection,
                touch=[given],
                delete=others,
                actor=caller.actor,
                request_id=caller.request_id,
            )
        except RelationshipError as error:
            field = "body.role" if request.expires_at is None else "body.expires_at"
            raise Invalid([(field, "is not possible here: the installation's schema has no such role")]) from error
        await write_audit(
            connection,
            caller.audit_entry(f"{kind.type}.share", "done", resource, {"subject": str(subject), "role": request.role}),
        )
        access = await _read_access(caller, connection, resource)
    if (await caller.tell(resource)).outcome is Outcome.REFUSED:
        await _take_back(caller, given, others)
    return access


async def _take_back(caller: Caller, given: Relationship, replaced: list[Relationship]) -> NoReturn:
    """Undo a share that the engine elsewhere refuses for good.

    Raises:
        Forbidden: always.
    """
    async with caller.database.transaction() as connection:
        await caller.engine.write(
            connection, touch=replaced, delete=[given], actor=caller.actor, request_id=caller.request_id
        )
    await caller.tell(given.resource)
    raise Forbidden(f"The engine that decides about this {given.resource.type} refuses the share; nothing is changed.")


async def unshare(
    caller: Caller, kind: ResourceKind, id: str, subject_type: SubjectType, subject_id: str, role: Role | None
) -> AccessList:
    """Take a role away, or all roles of a subject when `role` is None; one that it does not hold is no error.

    Raises:
        NotFound, Forbidden, Invalid, Conflict: as `share`.
    """
    resource = Resource(kind.type, id)
    async with _locked_to_share(caller, kind, id) as connection:
        subject = await find_subject(
            connection, caller.principal.tenant_id, subject_type, subject_id, field="query.subject_id", disabled=True
        )
        grants = await caller.engine.read(connection, resource)
        taken = [g for g in grants if g.subject == subject and g.relation in ROLES and role in (None, g.relation)]
        if any(g.relation == "owner" for g in taken):
            _keep_an_owner(grants, subject)
        await caller.engine.write(connection, delete=taken, actor=caller.actor, request_id=caller.request_id)
        await write_audit(
            connection,
            caller.audit_entry(
                f"{kind.type}.unshare",
                "done",
                resource,
                {"subject": str(subject), "roles": [g.relation for g in taken]},
            ),
        )
        access = await _read_access(caller, connection, resource)
    await caller.tell(resource)
    return access


def _refuse_untold(caller: Caller, given: Relationship) -> None:
    if caller.delivery is not None and not caller.delivery.remote.takes(given):
        raise Conflict(
            f"An auth provider decides about this {given.resource.type}, and it cannot be told of a "
            f"{given.subject.type} as {given.relation}: its contract has owners only. Share it at the provider."
        )


def _refuse_without_registration(caller: Caller, kind: ResourceKind) -> None:
    if not caller.decider.modes.rule(caller.principal.tenant_id, kind.type).registers:
        raise Conflict(
            f"Roles in the tenant decide about its {kind.type}s, so a share would change nothing. "
            f"It takes the mode `write` at least, which the operator sets."
        )


# Every removed relationship leaves a row, so a later number tells that somebody lost a role on the resource meanwhile.
_LAST_REMOVAL = """
coalesce((SELECT max(h.id) FROM relationship_history h JOIN authz_types y ON y.code = h.resource_type
           WHERE y.name = '{type}' AND h.resource_id = t.id), 0) AS last_removal
"""


@asynccontextmanager
async def _locked_to_share(caller: Caller, kind: ResourceKind, id: str) -> AsyncIterator[Connection]:
    """A transaction that holds the resource's row, for a caller who may share it at that moment.

    The lock keeps two owners from taking each other's role at once. The question is asked before it, since an engine
    elsewhere is asked without a connection, and again if somebody lost a role before the lock was had.

    Raises:
        NotFound, Forbidden: he may not.
    """
    last_removal = _LAST_REMOVAL.format(type=kind.type)
    lock = f"SELECT t.id FROM {kind.table} t WHERE t.id = $1 AND {kind.alive} FOR UPDATE"
    again = f"SELECT {last_removal} FROM {kind.table} t WHERE t.id = $1"
    while True:
        asked = await authorize(caller, kind, "share", id=id, columns=f"t.id, {last_removal}")
        async with caller.database.transaction() as connection:
            if not await connection.fetchval(lock, id):
                raise absent(label_of(id=id))
            # In a statement of its own, which sees what whoever had the lock before has committed.
            if await connection.fetchval(again, id) == asked["last_removal"]:
                yield connection
                return


def _keep_an_owner(grants: list[Relationship], leaving: Subject) -> None:
    owners = {g.subject for g in grants if g.relation == "owner" and g.expires_at is None}
    if owners == {leaving}:
        raise Conflict("This is the last owner. Make somebody else an owner first.")


async def _read_access(caller: Caller, connection: Connection, resource: Resource) -> AccessList:
    grants = [g for g in await caller.engine.read(connection, resource) if g.relation in ROLES]
    rows = await connection.fetch(_NAMES, caller.principal.tenant_id, [g.subject.id for g in grants])
    names = {row["id"]: row["name"] for row in rows}
    return AccessList(
        grants=[
            Grant(
                subject_type=g.subject.type,
                subject_id=names.get(g.subject.id, g.subject.id),
                subject_relation=g.subject.relation,
                role=g.relation,
                expires_at=g.expires_at,
            )
            for g in grants
        ]
    )
