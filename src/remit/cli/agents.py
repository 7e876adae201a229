"""`remit agents`: which agents a tenant has, and how a new one gets its key."""

from typing import Annotated, Any

import typer

from remit.cli.context import AsJson, DataDir, OfTenant, Session, administer, fail
from remit.cli.output import show, show_list, show_secret, show_time

agents_commands = typer.Typer(help="Agents of a tenant.")

Name = Annotated[str, typer.Argument(help="The agent's name: lower-case letters, digits and hyphens.")]


@agents_commands.command("enroll")
def enroll(
    name: Name,
    tenant: OfTenant,
    owner: Annotated[str | None, typer.Option("--owner", help="The user who owns a new agent.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Do not let the tenant's members use a new agent.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make the agent unless it exists, and a key of it: start its process with that as AGENT_API_KEY.

    Example:

    $ remit agents enroll echo --tenant acme
    """

    async def work(session: Session) -> tuple[str, str]:
        import re

        from remit.agents.registration import AGENT_NAME, LONGEST_NAME
        from remit.agents.service import enroll_agent
        from remit.cli.names import find_member
        from remit.identity.operator import operator_entry
        from remit.identity.tenants import find_tenant

        if not re.fullmatch(AGENT_NAME, name) or len(name) > LONGEST_NAME:
            fail(
                f"'{name}' is not a name for an agent: "
                f"use lower-case letters, digits and hyphens, {LONGEST_NAME} at most"
            )
        of = await find_tenant(session.connection, tenant, enabled=True)
        subject = await find_member(session.connection, of.id, "user", owner) if owner else None
        if (subject is not None or private) and await find_agent(session, of.id, name) is not None:
            fail(
                f"the tenant has the agent '{name}' already, and --owner and --private are for a new one: leave them "
                "out for another key, and change who may with `remit authz grant` and `revoke`"
            )
        enrolled = await enroll_agent(
            session.connection,
            session.engine,
            tenant_id=of.id,
            name=name,
            owner=subject,
            private=private,
            actor=operator_entry(of.id, "agent.enroll"),
        )
        assert enrolled is not None, "it need not be new"
        return enrolled

    agent_id, secret = administer(data_dir, work)
    value = {"id": agent_id, "name": name, "tenant": tenant, "agent_api_key": secret}
    show_secret(
        as_json, value, f"Enrolled the agent {name} ({agent_id}). Start its process with", f"AGENT_API_KEY={secret}"
    )


@agents_commands.command("list")
def list_(tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the agents of a tenant, newest first.

    Example:

    $ remit agents list --tenant acme
    """

    async def work(session: Session) -> list[dict[str, Any]]:
        from remit.identity.tenants import find_tenant

        of = await find_tenant(session.connection, tenant)
        rows = await session.connection.fetch(
            "SELECT id, name, acp_type, status, acp_url, registered_at FROM agents "
            "WHERE tenant_id = $1 AND status <> 'Deleted' ORDER BY id DESC",
            of.id,
        )
        return [dict(row) for row in rows]

    show_list(
        as_json,
        administer(data_dir, work),
        {
            "id": lambda row: row["id"],
            "name": lambda row: row["name"],
            "type": lambda row: row["acp_type"],
            "status": lambda row: row["status"],
            "listens at": lambda row: row["acp_url"] or "-",
            "registered": lambda row: show_time(row["registered_at"]) or "not yet",
        },
        f"The tenant has no agents; `remit agents enroll NAME --tenant {tenant}` makes one.",
    )


@agents_commands.command("delete")
def delete(name: Name, tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Delete an agent: its keys and relationships end at once, its tasks stay.

    Example:

    $ remit agents delete echo --tenant acme
    """

    async def work(session: Session) -> str:
        from remit.agents.service import end_agent
        from remit.authz.model import Resource
        from remit.identity.operator import operator_entry, operator_name
        from remit.identity.tenants import find_tenant

        of = await find_tenant(session.connection, tenant)
        agent_id = await find_agent(session, of.id, name)
        if agent_id is None:
            fail(f"the tenant has no agent '{name}'; `remit agents list --tenant {tenant}` shows those there are")
        entry = operator_entry(of.id, "agent.delete", Resource("agent", agent_id), {"name": name})
        await end_agent(session.connection, session.engine, agent_id, entry=entry, actor=operator_name())
        return agent_id

    agent_id = administer(data_dir, work)
    show(as_json, {"id": agent_id, "name": name}, f"Deleted the agent {name} ({agent_id}).")


async def find_agent(session: Session, tenant_id: str, name: str) -> str | None:
    """The id of a tenant's agent, None if it has none of the name."""
    found: str | None = await session.connection.fetchval(
        "SELECT id FROM agents WHERE tenant_id = $1 AND name = $2 AND status <> 'Deleted'", tenant_id, name
    )
    return found
