"""`remit authz`: questions to the relationship graph, and relationships written by hand."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from remit.cli.context import AsJson, DataDir, Session, administer, fail
from remit.cli.output import print_note, show, show_list, show_time

if TYPE_CHECKING:
    from remit.authz.model import Relationship
    from remit.cli.names import Standing

authz_commands = typer.Typer(help="The relationship graph: who may, and why.")

ResourceText = Annotated[str, typer.Argument(metavar="RESOURCE", help="As task:ID, task:NAME or agent:NAME.")]
SubjectText = Annotated[str, typer.Argument(metavar="SUBJECT", help="As user:NAME, group:NAME#member or agent:NAME.")]
Relation = Annotated[str, typer.Argument(help="A relation of the resource's type: viewer, editor, owner ….")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Where names are looked up.")]

NOT_ALLOWED = 1


async def _tenant_id(session: Session, tenant: str | None) -> str | None:
    from remit.identity.tenants import find_tenant

    return (await find_tenant(session.connection, tenant)).id if tenant else None


@authz_commands.command("check")
def check(
    resource: ResourceText,
    permission: Annotated[str, typer.Argument(help="A permission of the resource's type: read, update, cancel ….")],
    subject: SubjectText,
    tenant: Tenant = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Ask whether a subject may; exit code 0 if so, 1 if not.

    Example:

    $ remit authz check agent:echo execute user:alice --tenant acme
    """

    async def work(session: Session) -> tuple[bool, str | None]:
        from remit.cli.names import find_any_subject, find_resource, find_standing

        tenant_id = await _tenant_id(session, tenant)
        asked = await find_resource(session.connection, tenant_id, resource)
        asker = await find_any_subject(session.connection, tenant_id, subject)
        allowed = await session.engine.check(session.connection, asker, permission, asked)
        standing = await find_standing(session.connection, asker.type, asker.id)
        if allowed and standing is not None and not standing.usable:
            return False, f"{subject} or its tenant is disabled or deleted; the graph alone would allow it"
        return allowed, None

    allowed, reason = administer(data_dir, work)
    value = {"resource": resource, "permission": permission, "subject": subject, "allowed": allowed, "reason": reason}
    show(as_json, value, "allowed" if allowed else "denied")
    if reason and not as_json:
        print_note(reason)
    if not allowed:
        raise typer.Exit(NOT_ALLOWED)


@authz_commands.command("grant")
def grant(
    resource: ResourceText,
    relation: Relation,
    subject: SubjectText,
    tenant: Tenant = None,
    allow_cross_tenant: Annotated[
        bool, typer.Option("--allow-cross-tenant", help="Write it even where the two are of different tenants.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Write a relationship. What users give each other goes through `PUT /tasks/{id}/access`.

    Example:

    $ remit authz grant agent:echo editor user:alice --tenant acme
    """
    _write(resource, relation, subject, tenant, as_json, data_dir, grants=True, cross=allow_cross_tenant)


@authz_commands.command("revoke")
def revoke(
    resource: ResourceText,
    relation: Relation,
    subject: SubjectText,
    tenant: Tenant = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Remove a relationship; it is kept in the history.

    Example:

    $ remit authz revoke agent:echo editor user:alice --tenant acme
    """
    _write(resource, relation, subject, tenant, as_json, data_dir, grants=False, cross=True)


def _write(
    resource: str,
    relation: str,
    subject: str,
    tenant: str | None,
    as_json: bool,
    data_dir: DataDir,
    *,
    grants: bool,
    cross: bool,
) -> None:
    async def work(session: Session) -> tuple[str, str, bool]:
        from remit.authz.model import Relationship
        from remit.cli.names import find_any_subject, find_resource, find_standing
        from remit.identity.operator import operator_name, record_change

        tenant_id = await _tenant_id(session, tenant)
        written = await find_resource(session.connection, tenant_id, resource)
        holder = await find_any_subject(session.connection, tenant_id, subject)
        fact = Relationship(written, relation, holder)
        home = await find_standing(session.connection, written.type, written.id)
        other = await find_standing(session.connection, holder.type, holder.id)
        crosses = False
        if grants:
            crosses = await _check_grant(session, fact, home, other, cross=cross)
        elif str(fact) not in [str(known) for known in await session.engine.read(session.connection, written)]:
            fail(f"{fact} is not written; `remit authz list {resource}` shows what is")
        token = await session.engine.write(
            session.connection,
            touch=[fact] if grants else [],
            delete=[] if grants else [fact],
            actor=operator_name(),
        )
        standing = home or other
        if standing is not None:
            action = "authz.grant" if grants else "authz.revoke"
            await record_change(session.connection, standing.tenant_id, action, written, {"relationship": str(fact)})
        return str(fact), token, crosses

    fact, token, crosses = administer(data_dir, work)
    if crosses:
        print_note("warning: this relationship crosses tenants; the tenant's gate is what keeps it from granting.")
    verb = "Wrote" if grants else "Removed"
    show(as_json, {"relationship": fact, "granted": grants, "zedtoken": token}, f"{verb} {fact}.")


async def _check_grant(
    session: Session, fact: "Relationship", home: "Standing | None", other: "Standing | None", *, cross: bool
) -> bool:
    """Refuse what must not be written; return whether it crosses tenants."""
    for side, standing in ((str(fact.resource), home), (str(fact.subject), other)):
        if standing is not None and not standing.usable:
            fail(f"{side} or its tenant is disabled or deleted; nothing is granted on it or to it")
    crosses = home is None or other is None or home.tenant_id != other.tenant_id
    if crosses and not cross:
        fail(
            "the resource and the subject are of different tenants, or one of them does not exist; "
            "--allow-cross-tenant writes it all the same, to rehearse a leak"
        )
    if fact.resource.type == "group" and home is not None:
        from remit.identity.groups import prepare_join

        await prepare_join(session.connection, session.engine, home.tenant_id, fact.resource.id, fact.subject)
    return crosses


@authz_commands.command("list")
def list_(resource: ResourceText, tenant: Tenant = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the relationships that are written on a resource.

    Example:

    $ remit authz list agent:echo --tenant acme
    """

    async def work(session: Session) -> list[dict[str, Any]]:
        from remit.cli.names import find_resource, name_subjects

        tenant_id = await _tenant_id(session, tenant)
        found = await session.engine.read(
            session.connection, await find_resource(session.connection, tenant_id, resource)
        )
        names = await name_subjects(session.connection, [fact.subject.id for fact in found])
        return [
            {
                "relation": fact.relation,
                "subject": str(fact.subject),
                "name": names.get(fact.subject.id),
                "expires_at": fact.expires_at,
            }
            for fact in found
        ]

    show_list(
        as_json,
        administer(data_dir, work),
        {
            "relation": lambda row: str(row["relation"]),
            "subject": lambda row: str(row["subject"]),
            "name": lambda row: str(row["name"] or ""),
            "until": lambda row: show_time(row["expires_at"]),
        },
        "No relationship is written on it.",
    )
