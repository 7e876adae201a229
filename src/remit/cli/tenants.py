"""`remit tenants`: the accounts that everything belongs to."""

from typing import Annotated

import typer

from remit.cli.context import AsJson, DataDir, Session, administer
from remit.cli.output import show, show_list, show_state, show_time

tenants_commands = typer.Typer(help="Tenants: the accounts that everything belongs to.")

Name = Annotated[str, typer.Argument(help="The tenant's name.")]


@tenants_commands.command("add")
def add_tenant(
    name: Name,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Begin with roles as the judge: for a tenant that comes from elsewhere.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a tenant. Relationships decide in it, unless it is adopted: then `remit authz mode` moves it there.

    Example:

    $ remit tenants add acme
    """
    from remit.authz.mode_moves import adopt as begin_in_off
    from remit.identity.tenants import create_tenant

    async def make(session: Session) -> str:
        tenant_id = await create_tenant(session.connection, name)
        if adopt:
            await begin_in_off(session.connection, tenant_id)
        return tenant_id

    tenant_id = administer(data_dir, make)
    more = " Its roles decide; `remit authz mode show` tells the way to relationships." if adopt else ""
    show(as_json, {"id": tenant_id, "name": name}, f"Made the tenant {name} ({tenant_id}).{more}")


@tenants_commands.command("list")
def list_tenants(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the tenants.

    Example:

    $ remit tenants list
    """
    from remit.identity import tenants

    rows = administer(data_dir, lambda session: tenants.list_tenants(session.connection))
    show_list(
        as_json,
        rows,
        {
            "id": lambda row: row.id,
            "name": lambda row: row.name,
            "state": lambda row: show_state(row.disabled_at),
            "made": lambda row: show_time(row.created_at),
        },
        "There are no tenants; `remit tenants add NAME` makes one.",
    )


@tenants_commands.command("disable")
def disable_tenant(name: Name, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Refuse every key of a tenant from its next request on. Nothing is removed.

    Example:

    $ remit tenants disable acme
    """
    from remit.identity import tenants

    changed = administer(data_dir, lambda session: tenants.disable_tenant(session.connection, name))
    text = f"Disabled the tenant {name}." if changed else f"The tenant {name} is disabled already."
    show(as_json, {"name": name, "disabled": True, "changed": changed}, text)


@tenants_commands.command("enable")
def enable_tenant(name: Name, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Accept the keys of a tenant again.

    Example:

    $ remit tenants enable acme
    """
    from remit.identity import tenants

    changed = administer(data_dir, lambda session: tenants.enable_tenant(session.connection, name))
    text = f"Enabled the tenant {name}." if changed else f"The tenant {name} is enabled already."
    show(as_json, {"name": name, "disabled": False, "changed": changed}, text)
