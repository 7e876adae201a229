"""`remit authz mode`: who decides in a tenant, and moving it from roles to relationships."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from remit.cli.context import AsJson, DataDir, OfTenant, Session, administer, fail
from remit.cli.output import print_json, print_table, show

if TYPE_CHECKING:
    from remit.authz.mode_moves import TypeMode

mode_commands = typer.Typer(help="Who decides: off, write, shadow (roles) or enforce (relationships).")

ModeName = Literal["off", "write", "shadow", "enforce"]
TypeName = Literal["tenant", "agent", "task", "api_key", "schedule"]
OfType = Annotated[TypeName | None, typer.Option("--type", help="One resource type; all of them by default.")]


@mode_commands.command("show")
def show_mode(tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show the modes of a tenant and what the next ones wait for.

    Example:

    $ remit authz mode show --tenant acme
    """
    from remit.authz.mode_moves import show_modes
    from remit.identity.tenants import find_tenant

    async def read(session: Session) -> list["TypeMode"]:
        owner = await find_tenant(session.connection, tenant)
        return await show_modes(session.connection, session.engine.mode_policy, owner.id)

    types = administer(data_dir, read)
    if as_json:
        print_json([dataclasses.asdict(one) for one in types])
        return
    print_table(
        ["type", "mode", "stored", "decided by", "next", "waits for"],
        [
            [
                one.resource_type,
                one.effective,
                one.stored or "",
                one.decided_by,
                one.next_mode or "",
                "; ".join(one.gates) or ("nothing" if one.next_mode else ""),
            ]
            for one in types
        ],
    )


@mode_commands.command("set")
def set_mode(
    mode: Annotated[ModeName, typer.Argument(help="The mode to move to.")],
    tenant: OfTenant,
    resource_type: OfType = None,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for the gates of a step forward.")] = False,
    allow_widening: Annotated[
        bool, typer.Option("--allow-widening", help="Let it give somebody what he may not do now.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Move a tenant's types to a mode; every process acts on it within a second.

    Example:

    $ remit authz mode set enforce --tenant acme
    """
    from remit.authz import mode_moves
    from remit.authz.modes import ModePolicy, rank
    from remit.identity.tenants import find_tenant

    async def move(session: Session) -> list[str]:
        if rank(mode) > rank("write"):
            await _require_answers(session)
        owner = await find_tenant(session.connection, tenant, enabled=True)
        rulings = await mode_moves.read_rulings(session.connection, ModePolicy(), owner.id)
        wanted = [resource_type] if resource_type else mode_moves.in_order(mode, rulings)
        return [
            name
            for name in wanted
            if await mode_moves.set_mode(
                session.connection, owner.id, name, mode, force=force, allow_widening=allow_widening
            )
        ]

    moved = administer(data_dir, move)
    text = f"Moved to {mode}: {', '.join(moved)}." if moved else f"Everything is in {mode} already."
    show(as_json, {"tenant": tenant, "mode": mode, "moved": moved}, text)


async def _require_answers(session: Session) -> None:
    """Refuse a move past `write` while the schema, or an engine elsewhere, does not answer what the routes ask."""
    from remit.app import asked_permissions, check_schema_answers
    from remit.authz.errors import AuthzError
    from remit.authz.load import connect_remote
    from remit.authz.remote_watch import probe

    remote = None
    try:
        check_schema_answers(session.engine)
        remote = connect_remote(session.settings)
        if remote is not None:
            await probe(remote, asked_permissions())
    except AuthzError as error:
        fail(f"no type moves past `write` while the engine does not answer what the routes ask: {error}")
    finally:
        if remote is not None:
            await remote.aclose()
