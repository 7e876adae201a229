"""`remit users` and `remit service-accounts`: who calls, and as what in their tenant."""

from typing import Annotated, Literal

import typer

from remit.cli.context import AsJson, DataDir, OfTenant, Session, administer
from remit.cli.output import show, show_list, show_state, show_time

Kind = Literal["user", "service_account"]
Role = Literal["admin", "member", "viewer"]

RoleArgument = Annotated[Role, typer.Argument(help="The new role; the one it has is taken away.")]
RoleOption = Annotated[Role, typer.Option("--role", help="What it is in the tenant.")]
DisplayName = Annotated[str | None, typer.Option("--display-name", help="A name for people to read.")]


def make_commands(  # noqa: C901 - one small function a command, made twice
    kind: Kind, command: str, example: str, role: Role
) -> typer.Typer:
    """The commands for one kind of subject.

    Args:
        kind: the kind.
        command: what they are called under.
        example: a name for the examples.
        role: a role for the examples.
    """
    label = kind.replace("_", " ")
    app = typer.Typer(help=f"{label.capitalize()}s of a tenant, and what they are in it.")
    name_argument = typer.Argument(help=f"Name of the {label}: the external id.")

    def described(text: str, example_arguments: str) -> str:
        return f"{text}\n\nExample:\n\n$ remit {command} {example_arguments}"

    @app.command("add", help=described(f"Make a {label}.", f"add {example} --tenant acme --role {role}"))
    def add(
        name: Annotated[str, name_argument],
        tenant: OfTenant,
        role: RoleOption = "member",
        display_name: DisplayName = None,
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        async def work(session: Session) -> str:
            from remit.identity.subjects import create_subject
            from remit.identity.tenants import find_tenant

            owner = await find_tenant(session.connection, tenant, enabled=True)
            return await create_subject(
                session.connection, session.engine, owner.id, kind, name, role=role, display_name=display_name
            )

        id = administer(data_dir, work)
        value = {"id": id, "kind": kind, "name": name, "tenant": tenant, "role": role}
        show(as_json, value, f"Made the {label} {name} ({id}), {role} of {tenant}.")

    @app.command("list", help=described(f"List the {label}s of a tenant.", "list --tenant acme"))
    def list_(tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
        from remit.identity.subjects import ListedSubject

        async def work(session: Session) -> list[ListedSubject]:
            from remit.identity.subjects import list_subjects
            from remit.identity.tenants import find_tenant

            owner = await find_tenant(session.connection, tenant)
            return await list_subjects(session.connection, session.engine, owner.id, kind)

        show_list(
            as_json,
            administer(data_dir, work),
            {
                "id": lambda row: row.id,
                "name": lambda row: row.name,
                "role": lambda row: row.role or "-",
                "state": lambda row: show_state(row.disabled_at),
                "made": lambda row: show_time(row.created_at),
            },
            f"The tenant has no {label}s; `remit {command} add NAME --tenant {tenant}` makes one.",
        )

    @app.command("role", help=described(f"Give a {label} another role.", f"role {example} admin --tenant acme"))
    def role_(
        name: Annotated[str, name_argument],
        role: RoleArgument,
        tenant: OfTenant,
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        async def work(session: Session) -> bool:
            from remit.identity.subjects import set_role
            from remit.identity.tenants import find_tenant

            owner = await find_tenant(session.connection, tenant, enabled=True)
            return await set_role(session.connection, session.engine, owner.id, kind, name, role)

        changed = administer(data_dir, work)
        text = f"The {label} {name} is {role} of {tenant} {'now' if changed else 'already'}."
        show(as_json, {"name": name, "tenant": tenant, "role": role, "changed": changed}, text)

    def switch(name: str, tenant: str, as_json: bool, data_dir: DataDir, *, disabled: bool) -> None:
        async def work(session: Session) -> bool:
            from remit.identity.subjects import disable_subject, enable_subject
            from remit.identity.tenants import find_tenant

            owner = await find_tenant(session.connection, tenant)
            change = disable_subject if disabled else enable_subject
            return await change(session.connection, owner.id, kind, name)

        changed = administer(data_dir, work)
        state = "disabled" if disabled else "enabled"
        text = f"{state.capitalize()} the {label} {name}." if changed else f"The {label} {name} is {state} already."
        show(as_json, {"name": name, "tenant": tenant, "disabled": disabled, "changed": changed}, text)

    @app.command(
        "disable",
        help=described(
            f"Refuse every key of a {label} from its next request on. Nothing is removed.",
            f"disable {example} --tenant acme",
        ),
    )
    def disable(
        name: Annotated[str, name_argument], tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None
    ) -> None:
        switch(name, tenant, as_json, data_dir, disabled=True)

    @app.command("enable", help=described(f"Accept the keys of a {label} again.", f"enable {example} --tenant acme"))
    def enable(
        name: Annotated[str, name_argument], tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None
    ) -> None:
        switch(name, tenant, as_json, data_dir, disabled=False)

    return app


users_commands = make_commands("user", "users", "alice", "member")
service_accounts_commands = make_commands("service_account", "service-accounts", "reporter", "viewer")
