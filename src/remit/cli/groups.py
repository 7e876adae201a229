"""`remit groups`: sets of users, service accounts and other groups that share their roles."""

from typing import Annotated

import typer

from remit.cli.context import AsJson, DataDir, OfTenant, Session, administer, fail
from remit.cli.output import show, show_list, show_state, show_time

groups_commands = typer.Typer(help="Groups of a tenant: sets of subjects that share their roles.")

Name = Annotated[str, typer.Argument(help="The group's name.")]
User = Annotated[str | None, typer.Option("--user", help="A user of the tenant.")]
ServiceAccount = Annotated[str | None, typer.Option("--service-account", help="A service account of the tenant.")]
Nested = Annotated[str | None, typer.Option("--group", help="Another group of the tenant.")]


@groups_commands.command("add")
def add_group(name: Name, tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Make an empty group.

    Example:

    $ remit groups add research --tenant acme
    """

    async def work(session: Session) -> str:
        from remit.identity.groups import create_group
        from remit.identity.tenants import find_tenant

        owner = await find_tenant(session.connection, tenant, enabled=True)
        return await create_group(session.connection, owner.id, name)

    id = administer(data_dir, work)
    show(as_json, {"id": id, "name": name, "tenant": tenant}, f"Made the group {name} ({id}).")


@groups_commands.command("list")
def list_groups(tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the groups of a tenant.

    Example:

    $ remit groups list --tenant acme
    """
    from remit.identity.groups import ListedGroup

    async def work(session: Session) -> list[ListedGroup]:
        from remit.identity import groups
        from remit.identity.tenants import find_tenant

        owner = await find_tenant(session.connection, tenant)
        return await groups.list_groups(session.connection, session.engine, owner.id)

    show_list(
        as_json,
        administer(data_dir, work),
        {
            "id": lambda row: row.id,
            "name": lambda row: row.name,
            "members": lambda row: str(row.members),
            "state": lambda row: show_state(row.disabled_at),
            "made": lambda row: show_time(row.created_at),
        },
        f"The tenant has no groups; `remit groups add NAME --tenant {tenant}` makes one.",
    )


@groups_commands.command("members")
def list_members(name: Name, tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the direct members of a group.

    Example:

    $ remit groups members research --tenant acme
    """

    async def work(session: Session) -> list[dict[str, str]]:
        from remit.cli.names import name_subjects
        from remit.identity import groups
        from remit.identity.tenants import find_tenant

        owner = await find_tenant(session.connection, tenant)
        group = await groups.find_group(session.connection, owner.id, name)
        members = await groups.list_members(session.connection, session.engine, group.id)
        names = await name_subjects(session.connection, [member.id for member in members])
        return [{"type": m.type, "name": names.get(m.id, m.id), "id": m.id} for m in members]

    show_list(
        as_json,
        administer(data_dir, work),
        {"id": lambda row: row["id"], "type": lambda row: row["type"], "name": lambda row: row["name"]},
        f"The group has no members; `remit groups join {name} --user NAME --tenant {tenant}` adds one.",
    )


@groups_commands.command("join")
def join(
    name: Name,
    tenant: OfTenant,
    user: User = None,
    service_account: ServiceAccount = None,
    group: Nested = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a user, a service account or a group a member of a group.

    Example:

    $ remit groups join research --user alice --tenant acme
    """
    _change_member(name, tenant, user, service_account, group, as_json, data_dir, joins=True)


@groups_commands.command("leave")
def leave(
    name: Name,
    tenant: OfTenant,
    user: User = None,
    service_account: ServiceAccount = None,
    group: Nested = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Take a member out of a group. What it could do through the group ends at once.

    Example:

    $ remit groups leave research --user alice --tenant acme
    """
    _change_member(name, tenant, user, service_account, group, as_json, data_dir, joins=False)


def _change_member(
    name: str,
    tenant: str,
    user: str | None,
    service_account: str | None,
    group: str | None,
    as_json: bool,
    data_dir: DataDir,
    *,
    joins: bool,
) -> None:
    given = {"user": user, "service_account": service_account, "group": group}
    chosen = [(kind, value) for kind, value in given.items() if value is not None]
    if len(chosen) != 1:
        fail("name the member by exactly one of --user, --service-account and --group")
    ((kind, member),) = chosen

    async def work(session: Session) -> None:
        from remit.cli.names import find_member
        from remit.identity import groups
        from remit.identity.tenants import find_tenant

        owner = await find_tenant(session.connection, tenant, enabled=joins)
        subject = await find_member(session.connection, owner.id, kind, member, disabled=not joins)
        change = groups.add_member if joins else groups.remove_member
        await change(session.connection, session.engine, owner.id, name, subject)

    administer(data_dir, work)
    state = "a member" if joins else "no longer a member"
    value = {"group": name, "member_type": kind, "member": member, "is_member": joins}
    show(as_json, value, f"The {kind.replace('_', ' ')} {member} is {state} of {name}.")


@groups_commands.command("disable")
def disable(name: Name, tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Empty a group and let nobody join it: what it grants ends at once.

    Example:

    $ remit groups disable research --tenant acme
    """

    async def work(session: Session) -> list[str] | None:
        from remit.identity.groups import disable_group
        from remit.identity.tenants import find_tenant

        owner = await find_tenant(session.connection, tenant)
        removed = await disable_group(session.connection, session.engine, owner.id, name)
        return None if removed is None else [str(member) for member in removed]

    removed = administer(data_dir, work)
    text = f"The group {name} is disabled already."
    if removed is not None:
        text = f"Disabled the group {name}; members taken out: {len(removed)}."
    show(as_json, {"name": name, "changed": removed is not None, "removed": removed or []}, text)


@groups_commands.command("enable")
def enable(name: Name, tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Let subjects join a group again. Its members from before do not come back by themselves.

    Example:

    $ remit groups enable research --tenant acme
    """

    async def work(session: Session) -> bool:
        from remit.identity.groups import enable_group
        from remit.identity.tenants import find_tenant

        owner = await find_tenant(session.connection, tenant)
        return await enable_group(session.connection, owner.id, name)

    changed = administer(data_dir, work)
    text = f"Enabled the group {name}." if changed else f"The group {name} is enabled already."
    show(as_json, {"name": name, "changed": changed}, text)
