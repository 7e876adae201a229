"""`remit keys`: the API keys with which users, service accounts and agents call."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from remit.cli.context import AsJson, DataDir, OfTenant, Session, administer, fail
from remit.cli.output import show, show_date, show_list, show_secret

keys_commands = typer.Typer(help="API keys: made, listed, revoked.")

_DURATION = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def read_duration(text: str) -> timedelta:
    """A duration as typed: `12h`, `30d`, `8w`."""
    match = _DURATION.fullmatch(text)
    if match is None or match[1].strip("0") == "":
        fail(f"'{text}' is not a duration: write 12h, 30d or 8w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@keys_commands.command("create")
def create(
    tenant: OfTenant,
    user: Annotated[str | None, typer.Option("--user", help="The user whose key it is.")] = None,
    service_account: Annotated[
        str | None, typer.Option("--service-account", help="The service account whose key it is.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What it is for.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="How long it is good: 12h, 30d, 8w.")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key for a user or a service account. It is shown this once.

    Example:

    $ remit keys create --tenant acme --user alice --name laptop --expires 30d
    """
    if (user is None) == (service_account is None):
        fail("name the holder by exactly one of --user and --service-account")
    kind, holder = ("user", user) if user is not None else ("service_account", service_account)
    assert holder is not None, "one of the two was given"
    expires_at = datetime.now(UTC) + read_duration(expires) if expires else None

    async def work(session: Session) -> tuple[str, str]:
        from remit.authz.model import Resource
        from remit.cli.names import find_member
        from remit.identity.api_keys import insert_key
        from remit.identity.operator import record_change
        from remit.identity.tenants import find_tenant

        owner = await find_tenant(session.connection, tenant, enabled=True)
        subject = await find_member(session.connection, owner.id, kind, holder)
        key = await insert_key(session.connection, tenant_id=owner.id, holder=subject, name=name, expires_at=expires_at)
        resource = Resource("api_key", key.id)
        await record_change(session.connection, owner.id, "key.create", resource, {"holder": str(subject)})
        return key.id, key.secret

    key_id, secret = administer(data_dir, work)
    value = {"id": key_id, "secret": secret, "tenant": tenant, kind: holder, "name": name, "expires_at": expires_at}
    show_secret(as_json, value, f"Made the key {key_id} of {holder}.", secret)


@keys_commands.command("list")
def list_(tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the keys of a tenant, newest first; the secrets are stored nowhere.

    Example:

    $ remit keys list --tenant acme
    """

    async def work(session: Session) -> list[dict[str, Any]]:
        from remit.identity.api_keys import list_keys
        from remit.identity.tenants import find_tenant

        owner = await find_tenant(session.connection, tenant)
        return [dict(row) for row in await list_keys(session.connection, owner.id)]

    show_list(
        as_json,
        administer(data_dir, work),
        {
            "id": lambda row: row["id"],
            "begins with": lambda row: row["prefix"],
            "holder": lambda row: row["holder"] + (f" ({row['name']})" if row["name"] else ""),
            "last used": lambda row: show_date(row["last_used_at"]) or "never",
            "state": _show_key_state,
        },
        f"The tenant has no keys; `remit keys create --tenant {tenant} --user NAME` makes one.",
    )


def _show_key_state(row: dict[str, Any]) -> str:
    if row["revoked_at"] is not None:
        return f"revoked {show_date(row['revoked_at'])}"
    if row["expires_at"] is None:
        return "good"
    expired = row["expires_at"] <= datetime.now(UTC)
    return f"{'expired' if expired else 'good until'} {show_date(row['expires_at'])}"


@keys_commands.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, from `remit keys list`.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """End a key: the next request with it is refused.

    Example:

    $ remit keys revoke 01990000-0000-7000-8000-000000000000
    """

    async def work(session: Session) -> str:
        from remit.authz.model import Resource
        from remit.identity.api_keys import revoke_key
        from remit.identity.operator import record_change
        from remit.paging import is_id

        outcome = await revoke_key(session.connection, key_id) if is_id(key_id) else None
        if outcome is None:
            fail(f"there is no key '{key_id}'; `remit keys list --tenant TENANT` shows those there are")
        if outcome == "revoked":
            tenant_id = await session.connection.fetchval("SELECT tenant_id FROM api_keys WHERE id = $1", key_id)
            await record_change(session.connection, tenant_id, "key.revoke", Resource("api_key", key_id))
        return outcome

    outcome = administer(data_dir, work)
    text = f"Revoked the key {key_id}." if outcome == "revoked" else f"The key {key_id} is revoked already."
    show(as_json, {"id": key_id, "changed": outcome == "revoked"}, text)
