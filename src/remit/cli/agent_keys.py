"""`remit agents keys`: the contract's keys of an agent, as an operator makes, lists and deletes them."""

import sys
from typing import Annotated, Any, Literal

import typer

from remit.cli.context import AsJson, DataDir, OfTenant, Session, administer, fail
from remit.cli.output import show, show_date, show_list, show_secret

agent_keys_commands = typer.Typer(
    help="Keys of an agent: its own (internal), for its webhooks (external), signing secrets (github, slack)."
)

KeyType = Literal["internal", "external", "github", "slack"]
OfAgent = Annotated[str, typer.Argument(help="The agent, by name.")]


@agent_keys_commands.command("create")
def create(
    agent: OfAgent,
    name: Annotated[str, typer.Argument(help="Unique among the agent's keys of the type; for github the repository.")],
    tenant: OfTenant,
    type: Annotated[KeyType, typer.Option("--type", help="What it is good for.")] = "external",
    from_stdin: Annotated[
        bool, typer.Option("--from-stdin", help="Take a secret that exists from standard input; else one is made.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key of an agent. It is shown this once.

    Example:

    $ remit agents keys create echo webhooks --tenant acme
    """
    given = sys.stdin.readline().rstrip("\r\n") if from_stdin else None

    async def work(session: Session) -> tuple[str, str]:
        from remit.agent_api_keys.making import NewKey, activate, insert_pending
        from remit.identity.operator import operator_entry

        if session.settings.authz_engine != "embedded":
            # The command's transaction cannot wait for an engine elsewhere to confirm.
            fail("with an engine elsewhere keys are made over the API, which waits for it: POST /agent_api_keys")
        tenant_id, agent_id = await _find(session, tenant, agent)
        new = NewKey.make(session.settings, agent_id, name, type, given)
        await insert_pending(session.connection, session.engine, tenant_id, new, None)
        detail: dict[str, object] = {"agent_id": agent_id, "name": name, "type": type}
        await activate(session.connection, operator_entry(tenant_id, "api_key.create", new.resource, detail))
        return new.id, new.secret

    key_id, secret = administer(data_dir, work)
    value = {"id": key_id, "secret": secret, "agent": agent, "name": name, "type": type}
    show_secret(as_json, value, f"Made the {type} key '{name}' ({key_id}) of {agent}.", secret)


@agent_keys_commands.command("list")
def list_(agent: OfAgent, tenant: OfTenant, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the keys of an agent, newest first; `remit keys list` shows those that enrolment made.

    Example:

    $ remit agents keys list echo --tenant acme
    """

    async def work(session: Session) -> list[dict[str, Any]]:
        from remit.agent_api_keys.service import COLUMNS

        _, agent_id = await _find(session, tenant, agent)
        rows = await session.connection.fetch(
            f"SELECT t.status, {COLUMNS} FROM agent_api_keys t WHERE t.agent_id = $1 ORDER BY t.id DESC", agent_id
        )
        return [dict(row) for row in rows]

    show_list(
        as_json,
        administer(data_dir, work),
        {
            "id": lambda row: row["id"],
            "name": lambda row: row["name"],
            "type": lambda row: row["api_key_type"],
            "state": lambda row: row["status"],
            "made": lambda row: show_date(row["created_at"]),
            "by": lambda row: row["creator_user_id"] or row["creator_service_account_id"] or "-",
        },
        f"The agent has no keys; `remit agents keys create {agent} NAME --tenant {tenant}` makes one.",
    )


@agent_keys_commands.command("delete")
def delete(
    agent: OfAgent,
    name: Annotated[str, typer.Argument(help="The key's name.")],
    tenant: OfTenant,
    type: Annotated[KeyType, typer.Option("--type", help="Its type.")] = "external",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Delete a key of an agent: the next request with it is refused.

    Example:

    $ remit agents keys delete echo webhooks --tenant acme
    """

    async def work(session: Session) -> str:
        from remit.agent_api_keys.ending import remove
        from remit.authz.model import Resource
        from remit.identity.operator import operator_name, record_change

        tenant_id, agent_id = await _find(session, tenant, agent)
        key_id: str | None = await session.connection.fetchval(
            "SELECT id FROM agent_api_keys WHERE agent_id = $1 AND name = $2 AND api_key_type = $3",
            agent_id,
            name,
            type,
        )
        if key_id is None:
            fail(
                f"the agent has no {type} key '{name}'; `remit agents keys list {agent} --tenant {tenant}` shows "
                "those there are"
            )
        await remove(session.connection, session.engine, key_id, actor=operator_name(), request_id=None)
        await record_change(session.connection, tenant_id, "api_key.delete", Resource("api_key", key_id))
        return key_id

    key_id = administer(data_dir, work)
    show(as_json, {"id": key_id, "agent": agent, "name": name, "type": type}, f"Deleted the {type} key '{name}'.")


async def _find(session: Session, tenant: str, agent: str) -> tuple[str, str]:
    """The ids of a tenant and its agent."""
    from remit.cli.agents import find_agent
    from remit.identity.tenants import find_tenant

    of = await find_tenant(session.connection, tenant)
    agent_id = await find_agent(session, of.id, agent)
    if agent_id is None:
        fail(f"the tenant has no agent '{agent}'; `remit agents list --tenant {tenant}` shows those there are")
    return of.id, agent_id
