"""The tenants of runs: made some at a time, and everybody's relationships delivered before anything happens to them."""

from dataclasses import dataclass, replace
from typing import Final

from support.graph import AgentParty, Group, Party, Seeder

from faults.site import Site, settings_of
from remit.authz.delivery import Deliverer
from remit.authz.http_contract import plain_principal
from remit.authz.load import make_deliverer, open_remote
from remit.authz.mode_moves import in_order, read_rulings, set_mode
from remit.authz.model import Resource, Subject
from remit.authz.modes import Mode, ModePolicy
from remit.authz.postgres import PostgresEngine
from remit.identity.encryption import SecretBox
from remit.identity.provider_principals import ProviderPrincipals
from remit.ids import new_id

NOWHERE: Final = "http://127.0.0.1:9"
"""The address of an agent that is never called: tasks of sync agents are only registered."""

_ROLES: Final = {"alice": "member", "bob": "member", "carol": "member", "root": "admin"}


@dataclass(frozen=True)
class AtProvider:
    """Who the people are at an auth provider, where they have the names and keys that servers know.

    Attributes:
        tenant_id: their account there.
        owner: alice.
        bob: with whom tasks are shared.
        carol: who joins the team.
        team: a group there.
    """

    tenant_id: str
    owner: Party
    bob: Party
    carol: Party
    team: Group


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
        there: who they are at a provider, None where none decides.
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
    there: AtProvider | None = None

    @property
    def roles(self) -> dict[str, str]:
        """The role of each in the tenant, by the name that histories use."""
        return dict(_ROLES)


async def make_people(site: Site, mode: Mode, number: int, mallory: Party) -> People:
    """A tenant of its own. Names differ from run to run: an engine elsewhere knows people by them alone."""
    seed = site.seed
    name = f"account-{number}-{new_id()}"
    tenant_id = await _make_tenant(seed, name, mode)
    there = None
    if site.beside.provider is not None:
        there, people = await _meet_people(site, site.beside.provider, tenant_id, name)
    else:
        people = {who: await seed.make_subject(tenant_id, f"{who}-{number}", role) for who, role in _ROLES.items()}
    team = await seed.make_group(tenant_id, f"team-{number}", [])
    agent = await seed.make_agent(tenant_id, NOWHERE, owner=people["alice"])
    return People(mode, tenant_id, **people, mallory=mallory, team=team, agent=agent, there=there)


async def _make_tenant(seed: Seeder, name: str, mode: Mode) -> str:
    """A tenant that no process has known in a stricter mode, which would hold wherever modes cannot be confirmed."""
    tenant_id = new_id()
    async with seed.database.transaction() as connection:
        await connection.execute("INSERT INTO tenants (id, name) VALUES ($1, $2)", tenant_id, name)
        for resource_type in in_order(mode, await read_rulings(connection, ModePolicy(), tenant_id)):
            await set_mode(connection, tenant_id, resource_type, mode, force=True, allow_widening=True)
    return tenant_id


async def make_stranger(site: Site) -> Party:
    """The admin of another tenant."""
    name = f"others-{new_id()}"
    tenant_id = await site.seed.make_tenant(name)
    if site.beside.provider is None:
        return await site.seed.make_subject(tenant_id, f"mallory-{new_id()}", "admin")
    account = await site.beside.provider.make_tenant(name)
    party = await site.beside.provider.make_subject(account, "mallory", "admin")
    return await _meet(site, party, tenant_id, "admin")


async def _meet_people(site: Site, provider: Seeder, tenant_id: str, name: str) -> tuple[AtProvider, dict[str, Party]]:
    """People of an account at the provider, as the servers see them first."""
    account = await provider.make_tenant(name)
    theirs = {who: await provider.make_subject(account, who, role) for who, role in _ROLES.items()}
    team = await provider.make_group(account, "team", [])
    there = AtProvider(account, theirs["alice"], theirs["bob"], theirs["carol"], team)
    return there, {who: await _meet(site, party, tenant_id, _ROLES[who]) for who, party in theirs.items()}


async def _meet(site: Site, party: Party, tenant_id: str, role: str) -> Party:
    """Have both servers see somebody for the first time, and give the role that roles decide by."""
    seed = site.seed
    for url in (site.reader.url, site.server.url):
        response = await seed.http.get(f"{url}/me", headers=party.headers)
        assert response.status_code == 200, response.text
    (row,) = await seed.fetch(
        "SELECT id, external_id FROM subjects WHERE tenant_id = $1 AND external_id = $2", tenant_id, party.id
    )
    if role != "member":  # which everybody is who comes from the provider
        async with seed.database.transaction() as connection:
            await seed.grant(connection, Resource("tenant", tenant_id), role, Subject("user", row["id"]))
    return replace(party, http=seed.http, id=row["id"], name=row["external_id"], tenant_id=tenant_id)


async def open_deliverer(site: Site) -> Deliverer:
    """Delivers for the harness itself, without proxies."""
    settings, engine = settings_of(site.environment), site.seed.engine
    assert isinstance(engine, PostgresEngine), "there is no other"
    kept = ProviderPrincipals(site.seed.database, SecretBox(settings)) if site.engine == "http" else None
    remote = await open_remote(settings, engine, kept.find if kept else plain_principal)
    deliverer = make_deliverer(settings, site.seed.database, engine, remote)
    assert deliverer is not None, "there is an engine elsewhere"
    return deliverer


async def deliver_all(site: Site, deliverer: Deliverer) -> None:
    """Deliver everything that waits."""
    while True:
        rows = await site.fetch("SELECT DISTINCT resource_type, resource_id::text AS id FROM outbox")
        if not rows:
            return
        # An agent first: a provider takes nothing that belongs to one that it does not know.
        for row in sorted(rows, key=lambda row: row["resource_type"] != "agent"):
            await deliverer.deliver(Resource(row["resource_type"], row["id"]), by="worker")
        await site.advance(30)
