"""`remit tenants`: the accounts that everything belongs to."""

from typing import Annotated

import typer

from remit.cli.context import AsJson, DataDir, administer
from remit.cli.output import show, show_list, show_state, show_time

tenants_commands = typer.Typer(help="Tenants: the accounts that everything belongs to.")

Name = Annotated[str, typer.Argument(help="The tenant's name.")]


@tenants_commands.command("add")
def add_tenant(name: Name, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Make a tenant.

    Example:

    $ remit tenants add acme
    """
    from remit.identity.tenants import create_tenant

    tenant_id = administer(data_dir, lambda session: create_tenant(session.connection, name))
    show(as_json, {"id": tenant_id, "name": name}, f"Made the tenant {name} ({tenant_id}).")


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
