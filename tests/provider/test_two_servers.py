"""A whole second Remit that has `remit auth serve` as its provider: processes of their own, and HTTP between them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest
from support.graph import Json, Party, Seeder, World, open_seeder
from support.modes import move
from support.processes import ServerProcess, run_remit
from support.provider import SECRET_KEY, ProviderProcess

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.modes import CONFIRMED_SECONDS, Mode
from remit.identity.tenants import create_tenant
from remit.provider.names import to_resource
from remit.settings import Settings

WAIT_SECONDS = 30
# A task is made without calling its agent, where that is of the type sync.
NOWHERE = "http://127.0.0.1:9"
STEPS_BACK: tuple[Mode, ...] = ("shadow", "write", "off")


@pytest.fixture
def second(database: str, provider: ProviderProcess) -> Iterator[ServerProcess]:
    """The server, which has rows of its own and asks the provider about them."""
    settings = {
        "REMIT_DATABASE_URL": database,
        "REMIT_AUTHZ_ENGINE": "http",
        "REMIT_AUTHZ_URL": provider.url,
        "REMIT_SECRET_KEY": SECRET_KEY,
    }
    with run_remit(None, log=None, **settings) as running:
        yield running


@pytest.fixture
async def rows(database: str, second: ServerProcess) -> AsyncIterator[Seeder]:
    """The second server's database."""
    async with open_seeder(database, second.url, Settings(authz_engine="http")) as seeder:
        yield seeder


def at(second: ServerProcess, party: Party, http: httpx.AsyncClient) -> Party:
    """Somebody who shows the second server the key that he has at the provider."""
    return replace(party, http=http)


async def test_a_user_creates_shares_and_revokes(
    provider: ProviderProcess, second: ServerProcess, rows: Seeder, seed: Seeder, world: World
) -> None:
    (tenant,) = await seed.fetch("SELECT name FROM tenants WHERE id = $1", world.tenant_id)
    async with rows.database.transaction() as connection:
        tenant_id = await create_tenant(connection, tenant["name"])
    async with httpx.AsyncClient(base_url=second.url, trust_env=False, timeout=20) as http:
        alice, bob, mallory = (at(second, one, http) for one in (world.alice, world.bob, world.mallory))
        stranger = replace(alice, key="remit_" + "0" * 40)

        # Who calls is for the provider to say.
        assert (await stranger.get("/me")).status_code == 401
        assert (await http.get("/me")).status_code == 401
        me = await alice.get("/me")
        assert (me.status_code, me.json()["tenant"]["id"]) == (200, tenant_id)
        assert (await mallory.get("/me")).status_code == 403, "of an account that this server does not have"

        # What alice makes is registered for her, in the name that the provider gave her.
        (owner,) = await rows.fetch("SELECT id, external_id FROM subjects WHERE display_name = 'alice'")
        assert owner["external_id"] == world.alice.id
        echo = await rows.make_agent(tenant_id, NOWHERE, name="echo", owner=replace(alice, id=owner["id"]))
        await settle(rows)
        task = await make_task(alice, "report")
        there = to_resource(world.tenant_id, "task", task["id"])
        assert there is not None
        facts = {
            str(fact.subject) for fact in await seed.relationships_of("task", there.id) if fact.relation == "owner"
        }
        assert facts == {f"user:{world.alice.id}"}
        stored = await rows.fetch("SELECT principal FROM provider_principals")
        assert stored, "what the provider handed out is kept"
        assert not any(b"mac" in row["principal"] for row in stored), "and nobody reads it there"

        # Others of the account may use the agent and do not see the task; agents are let in by their own key.
        assert (await bob.get(f"/tasks/{task['id']}")).status_code == 404
        assert [row["id"] for row in (await bob.get("/tasks")).json()] == []
        assert [row["id"] for row in (await alice.get("/tasks")).json()] == [task["id"]]
        agent = replace(echo, http=http)
        assert (await agent.get(f"/tasks/{task['id']}")).status_code == 200

        # A role that the contract has no words for is refused before anything is written.
        (other,) = await rows.fetch("SELECT external_id FROM subjects WHERE display_name = 'bob'")
        body = {"subject_type": "user", "subject_id": other["external_id"], "role": "viewer"}
        refused = await alice.put(f"/tasks/{task['id']}/access", body)
        assert (refused.status_code, "at the provider" in refused.json()["detail"]) == (409, True)
        # And so is what the provider does not accept.
        refused = await alice.put(f"/tasks/{task['id']}/access", {**body, "role": "owner"})
        assert refused.status_code == 403
        assert (await bob.get(f"/tasks/{task['id']}")).status_code == 404
        await settle(rows)

        # Shared at the provider, bob reads it here; taken back, he does not.
        await share(seed, there, world.bob.subject)
        assert (await bob.get(f"/tasks/{task['id']}")).status_code == 200
        assert [row["id"] for row in (await bob.get("/tasks")).json()] == [task["id"]]
        assert (await bob.delete(f"/tasks/{task['id']}")).status_code == 403
        await share(seed, there, world.bob.subject, taken=True)
        assert (await bob.get(f"/tasks/{task['id']}")).status_code == 404

        # A key that ends at the provider ends here, although its principal is remembered.
        await seed.fetch("UPDATE api_keys SET revoked_at = now() WHERE subject_id = $1", world.bob.id)
        assert (await bob.get(f"/tasks/{task['id']}")).status_code == 401

        assert (await alice.delete(f"/tasks/{task['id']}")).status_code == 200
        assert await seed.relationships_of("task", there.id) == []
        assert (await alice.get(f"/tasks/{task['id']}")).status_code == 404
        ready = (await http.get("/readyz")).json()
        assert ready["checks"]["engine"] == "ok"

        # A name that nobody has is the same 404 in every mode; where roles decide, sharing is for admins.
        other_task = await make_task(alice, "another")
        told = await alice.put(f"/tasks/{other_task['id']}/access", body)
        assert (told.status_code, "at the provider" in told.json()["detail"]) == (409, True)
        missing = await alice.delete("/tasks/name/nowhere")
        assert missing.status_code == 404
        for mode in STEPS_BACK:
            await move(rows, tenant_id, mode)
            await asyncio.sleep(CONFIRMED_SECONDS)  # the longest that a process goes by the mode before
            again = await alice.delete("/tasks/name/nowhere")
            assert again.status_code == 404, mode
            assert {**missing.json(), "request_id": None} == {**again.json(), "request_id": None}
            refused = await alice.put(f"/tasks/{other_task['id']}/access", body)
            assert (refused.status_code, "but not share it" in refused.json()["detail"]) == (403, True), mode


async def settle(rows: Seeder) -> None:
    """Wait until the provider has been told everything."""
    for _ in range(WAIT_SECONDS * 10):
        if not await rows.fetch("SELECT 1 FROM outbox"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(await rows.fetch("SELECT * FROM outbox"))


async def make_task(party: Party, name: str) -> Json:
    response = await party.rpc("echo", "task/create", {"name": name})
    assert response.status_code == 200, response.text
    assert response.json()["error"] is None, response.text
    task: Json = response.json()["result"]
    return task


async def share(seed: Seeder, resource: Resource, subject: Subject, *, taken: bool = False) -> None:
    fact = Relationship(resource, "viewer", subject)
    async with seed.database.transaction() as connection:
        await seed.engine.write(connection, touch=[] if taken else [fact], delete=[fact] if taken else [])
