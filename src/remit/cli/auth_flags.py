"""`remit auth flags`: where an account's checks are answered and where its resources are written besides."""

from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.context import AsJson, DataDir, OfTenant, Session, administer
from remit.cli.output import show

if TYPE_CHECKING:
    from remit.provider.flags import AccountFlags
    from remit.settings import Settings

flags_commands = typer.Typer(help="Where an account's checks are answered, for the auth provider.")


@flags_commands.command("show")
def show_account(tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show the flags of an account.

    Example:

    $ remit auth flags show --tenant acme
    """

    async def read(session: Session) -> "AccountFlags":
        from remit.identity.tenants import find_tenant
        from remit.provider.flags import default_flags, read_flags, show_flags

        account = await find_tenant(session.connection, tenant)
        default = default_flags(_backends(session.settings))
        return show_flags(account.id, await read_flags(session.connection, account.id, default))

    _print(as_json, administer(data_dir, read))


@flags_commands.command("set")
def set_account(
    tenant: OfTenant,
    check: Annotated[str | None, typer.Option("--check", help="Who answers: postgres, spicedb or http.")] = None,
    dual_write: Annotated[
        str | None, typer.Option("--dual-write", help="Engines that are told as well, with commas; '' for none.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Set the flags of an account; what is left out stays. In force from the next request on in every process.

    Example:

    $ remit auth flags set --tenant acme --dual-write spicedb --check spicedb
    """

    async def change(session: Session) -> "AccountFlags":
        from remit.authz.model import Resource
        from remit.identity.operator import operator_entry
        from remit.identity.tenants import find_tenant
        from remit.provider.flags import FlagsChange, change_flags, default_flags, lock_flags, read_flags, show_flags

        given: dict[str, object] = {}
        if check is not None:
            given["check"] = check
        if dual_write is not None:
            given["dual_write"] = [name.strip() for name in dual_write.split(",") if name.strip()]
        backends = _backends(session.settings)
        account = await find_tenant(session.connection, tenant, enabled=True)
        await lock_flags(session.connection, account.id)
        before = await read_flags(session.connection, account.id, default_flags(backends))
        entry = operator_entry(account.id, "account.flags", Resource("tenant", account.id))
        flags = await change_flags(session.connection, FlagsChange.model_validate(given), before, entry, backends)
        return show_flags(account.id, flags)

    _print(as_json, administer(data_dir, change))


def _backends(settings: "Settings") -> set[str]:
    """The engines elsewhere that `remit auth serve` has by the same settings."""
    return {
        *(["http"] if settings.authz_url is not None else []),
        *(["spicedb"] if settings.authz_engine == "spicedb" else []),
    }


def _print(as_json: bool, flags: "AccountFlags") -> None:
    told = ", ".join(flags.dual_write) or "no other engine"
    text = f"Checks are answered by {flags.check}; resources are written to {told} besides."
    show(as_json, flags.model_dump(mode="json", by_alias=True), text)
