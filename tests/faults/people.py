"""The tenants of runs: made some at a time, and everybody's relationships delivered before anything happens to them."""

from dataclasses import dataclass
from typing import Final

from support.graph import AgentParty, Group, Party
from support.modes import move

from faults.site import Site, settings_of
from remit.authz.delivery import Deliverer
from remit.authz.load import make_deliverer, open_remote
from remit.authz.model import Resource
from remit.authz.modes import Mode
from remit.authz.postgres import PostgresEngine

NOWHERE: Final = "http://127.0.0.1:9"
"""The address of an agent that is never called: tasks of sync agents are only registered."""


@dataclass(frozen=True)
class People:
    """Who takes part in a run.

    Attributes:
        mode: of all types of the tenant.
        tenant_id: the tenant.
        alice: makes tasks and keys; a member, and owner of the agent.
        bob: a member, with whom tasks are shared.
        carol: a member, who joins the team.
        root: an admin.
        mallory: the admin of another tenant.
        team: a group, empty at first.
        agent: works on the tasks.
    """

    mode: Mode
    tenant_id: str
    alice: Party
    bob: Party
    carol: Party
    root: Party
    mallory: Party
    team: Group
    agent: AgentParty

    @property
    def roles(self) -> dict[str, str]:
        """The role of each in the tenant, by the name that histories use."""
        return {"alice": "member", "bob": "member", "carol": "member", "root": "admin"}


async def make_people(site: Site, mode: Mode, number: int, mallory: Party) -> People:
    """A tenant of its own. Names differ from run to run: an engine elsewhere knows people by them alone."""
    seed = site.seed
    tenant_id = await seed.make_tenant()
    if mode != "enforce":  # where a new tenant begins
        await move(seed, tenant_id, mode)

    async def person(name: str, role: str = "member") -> Party:
        return await seed.make_subject(tenant_id, f"{name}-{number}", role)

    alice, bob, carol, root = (
        await person("alice"),
        await person("bob"),
        await person("carol"),
        await person("root", "admin"),
    )
    team = await seed.make_group(tenant_id, f"team-{number}", [])
    agent = await seed.make_agent(tenant_id, NOWHERE, owner=alice)
    return People(mode, tenant_id, alice, bob, carol, root, mallory, team, agent)


async def open_deliverer(site: Site) -> Deliverer:
    """Delivers for the harness itself, without proxies."""
    settings, engine = settings_of(site.environment), site.seed.engine
    assert isinstance(engine, PostgresEngine), "there is no other"
    deliverer = make_deliverer(settings, site.seed.database, engine, await open_remote(settings, engine))
    assert deliverer is not None, "there is an engine elsewhere"
    return deliverer


async def deliver_all(site: Site, deliverer: Deliverer) -> None:
    """Deliver everything that waits."""
    rows = await site.seed.fetch("SELECT DISTINCT resource_type, resource_id::text AS id FROM outbox")
    for row in rows:
        await deliverer.deliver(Resource(row["resource_type"], row["id"]), by="worker")
