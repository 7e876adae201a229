"""`GET /authz/why`: why a check of the relationships is allowed or denied, for those who manage the resource."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from remit.agents.service import AGENT
from remit.authz.caller import CurrentCaller
from remit.authz.errors import PermissionUnknown
from remit.authz.explain import Branch, Explanation, explain
from remit.authz.explain_text import render_text, say
from remit.authz.guard import ResourceKind, authorize
from remit.authz.ids import is_canonical
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.proofs import TooLargeToExplain
from remit.authz.route import GuardedRoute, requires
from remit.authz.sharing import find_subject
from remit.db.pool import Connection
from remit.errors import Forbidden, Invalid
from remit.tasks.service import TASK

router = APIRouter(tags=["authorization"], route_class=GuardedRoute)

KINDS: dict[str, ResourceKind] = {kind.type: kind for kind in (TASK, AGENT)}
_NAMES = """
SELECT id, name FROM (
  SELECT id, tenant_id, external_id AS name FROM subjects WHERE id = ANY($1::uuid[])
  UNION ALL SELECT id, tenant_id, name FROM groups WHERE id = ANY($1::uuid[])
  UNION ALL SELECT id, tenant_id, name FROM agents WHERE id = ANY($1::uuid[])
  UNION ALL SELECT id, tenant_id, name FROM tasks WHERE id = ANY($1::uuid[]) AND name IS NOT NULL
  UNION ALL SELECT id, id, name FROM tenants WHERE id = ANY($1::uuid[])
) named WHERE $2::uuid IS NULL OR tenant_id = $2
"""

ResourceText = Annotated[
    str, Query(max_length=600, description="As `task:ID`, `task:NAME`, `agent:ID` or `agent:NAME`.")
]
PermissionName = Annotated[str, Query(max_length=64, description="A permission of the type: read, update, cancel ….")]
SubjectText = Annotated[
    str | None,
    Query(
        max_length=600, description="As `user:NAME`, `service_account:NAME`, `group:NAME`, `agent:NAME`; or the caller."
    ),
]


class Fact(BaseModel):
    """A relationship, and the same in words."""

    relationship: str
    says: str


class Part(BaseModel):
    """A part of the permission's expression, and whether it holds."""

    text: str
    holds: bool
    parts: list[Part]


class Why(BaseModel):
    """The reasons of one answer.

    The redacted form, for a caller who asks about himself and may not share the resource, names relations alone: who
    else stands where is left out.
    """

    allowed: bool
    decided_by: Literal["roles", "relationships", "both"]
    form: Literal["full", "redacted"]
    subject: str
    permission: str
    resource: str
    through: list[str]
    needs: list[str]
    path: list[Fact] | None = None
    missing: list[Fact] | None = None
    granters: list[str] | None = None
    tree: Part | None = None
    text: str


@router.get(
    "/authz/why",
    openapi_extra=requires("task", "read", or_else=("agent.read", "task.share", "agent.share")),
)
async def get_why(
    caller: CurrentCaller, resource: ResourceText, permission: PermissionName, subject: SubjectText = None
) -> Why:
    """Why the relationships let a subject do something, or not; read from the database at this moment.

    An allow comes with the shortest path of relationships, a denial with each part that fails, the nearest missing
    relationship and who could write it. It takes `share` on the resource; about themselves all who may read it may
    ask, and get the redacted form.
    """
    kind, label, value = _split_resource(resource)
    row = await authorize(caller, kind, "read", columns="t.id", **{label: value})
    found = Resource(kind.type, row["id"])
    manages = await caller.holds("share", found)
    async with caller.database.connection() as connection:
        asker = caller.subject
        if subject is not None:
            asker = await _find_subject(connection, caller.principal.tenant_id, subject, hidden=not manages)
        if asker != caller.subject and not manages:
            raise Forbidden(f"You may read this {kind.type} but not share it, so you may ask about yourself only.")
        engine = caller.engine
        if not isinstance(engine, PostgresEngine):
            raise Invalid([("resource", "is not explained by the engine that is configured")])
        try:
            explanation = await explain(engine, connection, asker, permission, found)
        except (PermissionUnknown, TooLargeToExplain) as error:
            raise Invalid([("query.permission", str(error))]) from error
        names = await find_names(connection, explanation, caller.principal.tenant_id)
    by = caller.decider.modes.rule(caller.principal.tenant_id, kind.type).by
    return _full(explanation, names, by) if manages else _redacted(explanation, names, by)


async def find_names(connection: Connection, explanation: Explanation, tenant_id: str | None = None) -> dict[str, str]:
    """What people call everything that an explanation names, by id; only what is of the tenant, where one is given."""
    facts = (*explanation.path, *explanation.missing)
    ids = {explanation.subject.id, explanation.resource.id, *(subject.id for subject in explanation.granters)}
    ids |= {side.id for fact in facts for side in (fact.resource, fact.subject)}
    rows = await connection.fetch(_NAMES, [id for id in ids if is_canonical(id)], tenant_id)
    return {row["id"]: row["name"] for row in rows}


def _split_resource(text: str) -> tuple[ResourceKind, str, str]:
    type, _, value = text.partition(":")
    if type not in KINDS or not value:
        raise Invalid([("query.resource", f"must be TYPE:ID or TYPE:NAME, of the types {', '.join(sorted(KINDS))}")])
    return KINDS[type], "id" if is_canonical(value) else "name", value


async def _find_subject(connection: Connection, tenant_id: str, text: str, *, hidden: bool) -> Subject:
    """The subject that a query names.

    Args:
        connection: where to look.
        tenant_id: whose subjects.
        text: as typed.
        hidden: whether it may be told that there is none: those who do not manage the resource learn nothing here.
    """
    type, _, name = text.partition(":")
    try:
        match type:
            case "user" | "service_account" | "group" if name:
                return await find_subject(connection, tenant_id, type, name, field="query.subject", disabled=True)
            case "agent" if name:
                id = await connection.fetchval(
                    f"SELECT t.id FROM agents t WHERE t.tenant_id = $1 AND (t.name = $2 OR t.id::text = $2)"
                    f" AND {AGENT.alive}",
                    tenant_id,
                    name,
                )
                if id is not None:
                    return Subject("agent", id)
                raise Invalid([("query.subject", "must name an agent of your tenant")])
    except Invalid as error:
        if hidden:
            raise Forbidden("You may not share this resource, so you may ask about yourself only.") from error
        raise
    raise Invalid([("query.subject", "must be user:NAME, service_account:NAME, group:NAME or agent:NAME")])


def _full(explanation: Explanation, names: dict[str, str], by: Literal["roles", "relationships", "both"]) -> Why:
    def fact(relationship: Relationship) -> Fact:
        return Fact(relationship=str(relationship), says=say(relationship, names))

    def part(branch: Branch) -> Part:
        return Part(text=branch.text, holds=branch.holds, parts=[part(inner) for inner in branch.parts])

    found = _redacted(explanation, names, by)
    return found.model_copy(
        update={
            "form": "full",
            "path": [fact(relationship) for relationship in explanation.path],
            "missing": [fact(relationship) for relationship in explanation.missing],
            "granters": [str(subject) for subject in explanation.granters],
            "tree": part(explanation.tree),
            "text": render_text(explanation, names),
        }
    )


def _redacted(explanation: Explanation, names: dict[str, str], by: Literal["roles", "relationships", "both"]) -> Why:
    return Why(
        allowed=explanation.allowed,
        decided_by=by,
        form="redacted",
        subject=str(explanation.subject),
        permission=explanation.permission,
        resource=str(explanation.resource),
        through=_places(explanation.path),
        needs=_places(explanation.missing),
        text=render_text(explanation, names, redacted=True),
    )


def _places(facts: tuple[Relationship, ...]) -> list[str]:
    return list(dict.fromkeys(f"{fact.resource.type}#{fact.relation}" for fact in facts))
