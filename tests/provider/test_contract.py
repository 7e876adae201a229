"""Every row of the auth-provider contract, over HTTP, against a process of `remit auth serve`."""

import asyncio
import uuid
from typing import Any

import pytest
from support.graph import Party, Seeder, World
from support.provider import Json, Peer, assert_done, assert_refused

from remit.authz.model import Resource
from remit.identity.subjects import disable_subject
from remit.identity.tenants import disable_tenant


def some_id() -> str:
    return str(uuid.uuid4())


async def own_agent(peer: Peer, principal: Json) -> str:
    agent = some_id()
    assert_done(await peer.register(principal, "agent", agent))
    return agent


async def own_task(peer: Peer, principal: Json, agent: str | None = None) -> str:
    task = some_id()
    assert_done(await peer.register(principal, "task", task, ("agent", agent) if agent else None))
    return task


# authn ------------------------------------------------------------------------------------------------------------


async def test_a_users_key_gives_the_members_that_the_peer_looks_at(peer: Peer, world: World) -> None:
    response = await peer.authn({"Authorization": f"Bearer {world.alice.key}"})
    assert response.status_code == 200
    principal = response.json()
    assert principal["user_id"] == world.alice.id
    assert principal["account_id"] == world.tenant_id
    assert principal["principal_type"] == "user"
    assert not principal.get("service_account_id")
    # A truthy `api_key` would keep the peer from caching.
    assert "api_key" not in principal
    assert world.alice.secret not in response.text


async def test_a_service_accounts_key_gives_the_other_creator(peer: Peer, world: World) -> None:
    response = await peer.authn({"x-api-key": world.bot.secret})
    assert response.json()["service_account_id"] == world.bot.id
    assert response.json()["principal_type"] == "service_account"
    assert "user_id" not in response.json()


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer remit_user_wrong"}, {"authorization": "Basic YTpi"}])
async def test_no_good_credential_is_401(peer: Peer, headers: dict[str, str]) -> None:
    assert_refused(await peer.authn(headers), 401)


async def test_headers_that_name_an_identity_are_not_believed(peer: Peer, world: World) -> None:
    claims = {"x-user-id": world.root.id, "x-agent-identity": "a", "cookie": "session=1", "x-auth-user": "root"}
    assert_refused(await peer.authn(claims), 401)
    mine = await peer.authn({**claims, "authorization": f"Bearer {world.alice.key}"})
    assert mine.json()["user_id"] == world.alice.id


async def test_headers_outside_the_peers_cache_key_decide_nothing(peer: Peer, world: World, seed: Seeder) -> None:
    """The peer would give the answer of the one request to the other."""
    agent = await seed.make_agent(world.tenant_id, None)
    assert_refused(await peer.authn({"x-agent-api-key": agent.secret}), 401)
    plain = (await peer.authn({"authorization": f"Bearer {world.alice.key}"})).json()
    other = await peer.authn({"authorization": f"Bearer {world.alice.key}", "x-agent-api-key": agent.secret})
    assert other.json()["user_id"] == plain["user_id"]
    assert other.json()["principal_type"] == "user"


async def test_two_credentials_must_be_of_one_principal(peer: Peer, world: World) -> None:
    both = {"authorization": f"Bearer {world.alice.key}", "x-api-key": world.alice.secret}
    assert (await peer.authn(both)).json()["user_id"] == world.alice.id
    assert_refused(await peer.authn({**both, "x-api-key": world.bob.secret}), 401)


async def test_an_account_can_be_selected_but_not_added(peer: Peer, world: World) -> None:
    key = {"authorization": f"Bearer {world.alice.key}"}
    own = await peer.authn({**key, "x-selected-account-id": world.tenant_id})
    assert own.json()["account_id"] == world.tenant_id
    assert_refused(await peer.authn({**key, "x-selected-account-id": world.mallory.tenant_id}), 401)


# register, check, search, deregister --------------------------------------------------------------------------------


async def test_registration_gives_the_owner_everything_at_once(peer: Peer, world: World) -> None:
    alice = await peer.principal(world.alice)
    agent = await own_agent(peer, alice)
    task = await own_task(peer, alice, agent)
    for operation in ("read", "update", "delete", "cancel"):
        assert await peer.may(alice, "task", task, operation), operation
    for operation in ("read", "update", "delete", "execute"):
        assert await peer.may(alice, "agent", agent, operation), operation
    for type in ("api_key", "schedule"):
        child = f"run-schedule::{agent}::{some_id()}"
        assert_done(await peer.register(alice, type, child, ("agent", agent)))
        for operation in ("read", "update", "delete"):
            assert await peer.may(alice, type, child, operation), (type, operation)


async def test_account_owner_and_parent_are_written_together(peer: Peer, world: World, seed: Seeder) -> None:
    alice = await peer.principal(world.alice)
    agent = await own_agent(peer, alice)
    task = await own_task(peer, alice, agent)
    written = {str(fact) for fact in await seed.relationships_of("task", f"{world.tenant_id}/{task}")}
    here = f"task:{world.tenant_id}/{task}"
    assert written == {
        f"{here}#tenant@tenant:{world.tenant_id}",
        f"{here}#owner@user:{world.alice.id}",
        f"{here}#parent_agent@agent:{world.tenant_id}/{agent}",
    }


async def test_others_of_the_account_may_use_an_agent_but_not_see_a_task(peer: Peer, world: World) -> None:
    alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
    agent = await own_agent(peer, alice)
    task = await own_task(peer, alice, agent)
    assert await peer.may(bob, "agent", agent, "execute")
    assert not await peer.may(bob, "agent", agent, "update")
    assert not await peer.may(bob, "task", task, "read")
    assert await peer.may(await peer.principal(world.root), "task", task, "delete")


async def test_an_account_never_sees_anothers_resources(peer: Peer, world: World) -> None:
    alice, mallory = await peer.principal(world.alice), await peer.principal(world.mallory)
    agent = await own_agent(peer, alice)
    task = await own_task(peer, alice, agent)
    for type, selector in (("agent", agent), ("task", task)):
        assert not await peer.may(mallory, type, selector, "read")
        # The same id in another account is another resource, and what happens to it touches nobody else's.
        assert_done(await peer.register(mallory, type, selector))
        assert await peer.may(mallory, type, selector, "delete")
        assert_done(await peer.deregister(mallory, type, selector))
        assert await peer.may(alice, type, selector, "delete")
    assert await peer.search(mallory, "task") == set()


async def test_ids_of_remits_own_rows_are_out_of_reach(peer: Peer, world: World, seed: Seeder) -> None:
    own = await seed.make_agent(world.tenant_id, None, owner=world.alice)
    alice, mallory = await peer.principal(world.alice), await peer.principal(world.mallory)
    assert not await peer.may(alice, "agent", own.id, "read")
    assert own.id not in await peer.search(alice, "agent")
    before = await seed.relationships_of("agent", own.id)
    assert_done(await peer.register(mallory, "agent", own.id))
    assert_done(await peer.deregister(mallory, "agent", own.id))
    assert await seed.relationships_of("agent", own.id) == before


@pytest.mark.parametrize("type", ["agent", "task", "api_key", "schedule"])
@pytest.mark.parametrize("operation", ["create", "read", "update", "delete", "execute", "cancel"])
async def test_unknown_ids_are_denied(peer: Peer, world: World, type: str, operation: str) -> None:
    root = await peer.principal(world.root)
    for selector in (some_id(), "", "no such id", "a" * 5000, "../x", "Ж"):
        assert not await peer.may(root, type, selector, operation), selector


async def test_create_is_a_right_in_the_account(peer: Peer, world: World) -> None:
    alice, viewer = await peer.principal(world.alice), await peer.principal(world.viewer)
    for type in ("agent", "task"):
        assert await peer.may(alice, type, "*", "create")
        assert not await peer.may(viewer, type, "*", "create")
        for operation in ("read", "update", "delete", "execute", "cancel"):
            assert not await peer.may(alice, type, "*", operation)
        assert_refused(await peer.register(viewer, type, some_id()))
    assert not await peer.may(alice, "api_key", "*", "create")
    assert not await peer.may(alice, "schedule", "*", "create")


async def test_registering_again_is_done_for_the_owner_and_refused_to_others(peer: Peer, world: World) -> None:
    alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
    agent, other = await own_agent(peer, alice), await own_agent(peer, alice)
    task = await own_task(peer, alice, agent)
    assert_done(await peer.register(alice, "task", task, ("agent", agent)))
    assert_refused(await peer.register(alice, "task", task, ("agent", other)))
    assert_refused(await peer.register(bob, "task", task, ("agent", agent)))
    assert not await peer.may(bob, "task", task, "read")


async def test_of_two_that_register_at_once_one_becomes_the_owner(peer: Peer, world: World) -> None:
    alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
    for _ in range(5):
        task = some_id()
        answers = await asyncio.gather(*(peer.register(who, "task", task) for who in (alice, bob) * 3))
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [403] * 3
        assert [await peer.may(who, "task", task, "read") for who in (alice, bob)].count(True) == 1


async def test_what_hangs_under_an_agent_needs_the_right_on_it(peer: Peer, world: World) -> None:
    alice, bob, mallory = [await peer.principal(party) for party in (world.alice, world.bob, world.mallory)]
    agent = await own_agent(peer, alice)
    assert_done(await peer.register(bob, "task", some_id(), ("agent", agent)))
    assert_refused(await peer.register(bob, "api_key", some_id(), ("agent", agent)))
    assert_refused(await peer.register(bob, "schedule", some_id(), ("agent", agent)))
    assert_refused(await peer.register(mallory, "task", some_id(), ("agent", agent)))
    assert_refused(await peer.register(alice, "task", some_id(), ("task", some_id())))
    assert_refused(await peer.register(alice, "api_key", some_id()))


async def test_a_key_needs_the_right_on_its_agent_to_be_deleted(peer: Peer, world: World, seed: Seeder) -> None:
    alice = await peer.principal(world.alice)
    agent = await own_agent(peer, alice)
    key = some_id()
    assert_done(await peer.register(alice, "api_key", key, ("agent", agent)))
    assert await peer.may(alice, "api_key", key, "delete")
    resource = Resource("agent", f"{world.tenant_id}/{agent}")
    async with seed.database.transaction() as connection:
        owner = [fact for fact in await seed.engine.read(connection, resource) if fact.relation == "owner"]
        await seed.engine.write(connection, delete=owner)
    assert not await peer.may(alice, "api_key", key, "delete")
    # Its owner can still tidy up.
    assert_done(await peer.deregister(alice, "api_key", key))


async def test_deregistration_removes_every_relationship(peer: Peer, world: World, seed: Seeder) -> None:
    alice = await peer.principal(world.alice)
    agent = await own_agent(peer, alice)
    task = await own_task(peer, alice, agent)
    assert_done(await peer.deregister(alice, "agent", agent))
    assert await seed.relationships_of("agent", f"{world.tenant_id}/{agent}") == []
    # On the subject's side as well.
    left = {fact.relation for fact in await seed.relationships_of("task", f"{world.tenant_id}/{task}")}
    assert left == {"tenant", "owner"}
    assert not await peer.may(alice, "agent", agent, "read")
    assert_done(await peer.deregister(alice, "agent", agent))
    assert_done(await peer.deregister(alice, "agent", some_id()))
    assert_done(await peer.deregister(alice, "agent", ""))


async def test_only_who_may_delete_deregisters(peer: Peer, world: World) -> None:
    alice, bob, root = [await peer.principal(party) for party in (world.alice, world.bob, world.root)]
    task = await own_task(peer, alice)
    assert_refused(await peer.deregister(bob, "task", task))
    assert_refused(await peer.ask("revoke", bob, "task", task, "delete"))
    assert await peer.may(alice, "task", task, "read")
    assert_done(await peer.deregister(root, "task", task))
    assert not await peer.may(alice, "task", task, "read")


async def test_grant_after_registration_is_a_success_that_changes_nothing(
    peer: Peer, world: World, seed: Seeder
) -> None:
    alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
    agent = await own_agent(peer, alice)
    before = await seed.relationships_of("agent", f"{world.tenant_id}/{agent}")
    assert_done(await peer.ask("grant", alice, "agent", agent, "create"))
    # Registering an agent again sends a grant for whoever's principal was in the body: knowing a name gives nothing.
    assert_refused(await peer.ask("grant", bob, "agent", agent, "create"))
    assert_refused(await peer.ask("grant", bob, "agent", agent, "delete"))
    assert await seed.relationships_of("agent", f"{world.tenant_id}/{agent}") == before


async def test_grant_of_what_nobody_registered_registers_it(peer: Peer, world: World) -> None:
    alice, viewer = await peer.principal(world.alice), await peer.principal(world.viewer)
    task = some_id()
    assert_refused(await peer.ask("grant", viewer, "task", task, "create"))
    assert_refused(await peer.ask("grant", alice, "task", task, "read"))
    assert_done(await peer.ask("grant", alice, "task", task, "create"))
    assert await peer.may(alice, "task", task, "cancel")
    assert_refused(await peer.ask("grant", alice, "api_key", some_id(), "create"))


async def test_revoke_removes_the_relationships_of_a_deleted_task(peer: Peer, world: World, seed: Seeder) -> None:
    """The peer never deregisters tasks."""
    alice = await peer.principal(world.alice)
    task = await own_task(peer, alice)
    assert_done(await peer.ask("revoke", alice, "task", task, "delete"))
    assert await seed.relationships_of("task", f"{world.tenant_id}/{task}") == []
    assert_done(await peer.ask("revoke", alice, "task", task, "delete"))
    assert_done(await peer.ask("revoke", alice, "agent", some_id(), "delete"))


async def test_search_is_exhaustive_and_in_the_callers_own_ids(peer: Peer, world: World, seed: Seeder) -> None:
    alice, bob, root = [await peer.principal(party) for party in (world.alice, world.bob, world.root)]
    agent = await own_agent(peer, alice)
    schedules = {f"run-schedule::{agent}::{number}" for number in range(3)}
    for schedule in schedules:
        assert_done(await peer.register(alice, "schedule", schedule, ("agent", agent)))
    odd = {"name with spaces", "Ж=%2F", "a/b"}
    tasks = {await own_task(peer, alice) for _ in range(7)} | odd
    for selector in odd:
        assert_done(await peer.register(alice, "task", selector))
    assert await peer.search(alice, "schedule") == schedules
    assert await peer.search(alice, "task") == tasks
    assert await peer.search(root, "task") == tasks
    assert await peer.search(bob, "task") == set()
    assert await peer.search(bob, "agent") == {agent}
    assert await peer.search(bob, "agent", "update") == set()
    assert await peer.search(alice, "task", "execute") == set()
    assert await peer.search(alice, "task", "create") == set()


async def test_search_goes_past_a_page(peer: Peer, world: World, seed: Seeder) -> None:
    alice = await peer.principal(world.alice)
    task = await own_task(peer, alice)
    await seed.execute(
        """
        WITH fresh AS (SELECT gen_random_uuid() AS id FROM generate_series(1, 12000)),
        one AS (SELECT r.* FROM relationships r JOIN authz_ids i ON i.id = r.resource_id WHERE i.text = $1),
        named AS (INSERT INTO authz_ids (type, id, text)
          SELECT (SELECT min(resource_type) FROM one), id, $2 || '/' || id FROM fresh)
        INSERT INTO relationships (resource_type, resource_id, relation, subject_type, subject_id, subject_relation)
          SELECT one.resource_type, fresh.id, one.relation, one.subject_type, one.subject_id, one.subject_relation
            FROM one, fresh
        """,
        f"{world.tenant_id}/{task}",
        world.tenant_id,
    )
    assert len(await peer.search(alice, "task")) == 12_001


async def test_a_change_in_the_graph_shows_in_the_next_answer(peer: Peer, world: World, seed: Seeder) -> None:
    alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
    task = await own_task(peer, alice)
    resource = Resource("task", f"{world.tenant_id}/{task}")
    async with seed.database.transaction() as connection:
        await seed.grant(connection, resource, "viewer", world.bob.subject)
    assert await peer.may(bob, "task", task, "read")
    assert await peer.search(bob, "task") == {task}
    async with seed.database.transaction() as connection:
        facts = await seed.engine.read(connection, resource)
        await seed.engine.write(connection, delete=[fact for fact in facts if fact.relation == "viewer"])
    assert not await peer.may(bob, "task", task, "read")
    assert await peer.search(bob, "task") == set()
    # An editor interrupts and writes; to cancel is the owner's.
    async with seed.database.transaction() as connection:
        await seed.grant(connection, resource, "editor", world.bob.subject)
    may = {name: await peer.may(bob, "task", task, name) for name in ("read", "update", "cancel", "delete")}
    assert may == {"read": True, "update": True, "cancel": False, "delete": False}


# principals that do not hold ----------------------------------------------------------------------------------------


async def every_call(peer: Peer, principal: Any) -> list[int]:
    """The status of each authorization endpoint."""
    id = some_id()
    responses = [
        await peer.check(principal, "task", "*", "create"),
        await peer.post(
            "/v1/authz/search", {"principal": principal, "filter_resource": "task", "filter_operation": "read"}
        ),
        await peer.ask("grant", principal, "task", id, "create"),
        await peer.ask("revoke", principal, "task", id, "delete"),
        await peer.register(principal, "task", id),
        await peer.deregister(principal, "task", id),
    ]
    for response in responses:
        assert response.status_code == 200 or response.json()["message"]
    return [response.status_code for response in responses]


async def test_a_good_principal_passes_every_endpoint(peer: Peer, world: World) -> None:
    assert await every_call(peer, await peer.principal(world.alice)) == [200] * 6


async def test_a_principal_that_is_altered_or_made_up_is_refused(peer: Peer, world: World) -> None:
    alice, mallory = await peer.principal(world.alice), await peer.principal(world.mallory)
    forged: list[Any] = [
        None,
        [],
        {},
        "alice",
        {"user_id": world.alice.id, "account_id": world.tenant_id, "principal_type": "user"},
        {**alice, "user_id": world.root.id},
        {**alice, "account_id": world.mallory.tenant_id},
        {**mallory, "account_id": world.tenant_id},
        {**alice, "role": "admin"},
        {**alice, "mac": mallory["mac"]},
        {**alice, "mac": ""},
        {**alice, "mac": None},
        {**alice, "mac": alice["mac"].replace("v1.", "v2.")},
        {name: value for name, value in alice.items() if name != "mac"},
        {name: value for name, value in alice.items() if name != "name"},
    ]
    for principal in forged:
        assert await every_call(peer, principal) == [401] * 6, principal


async def test_the_order_of_a_principals_members_does_not_matter(peer: Peer, world: World) -> None:
    alice = await peer.principal(world.alice)
    assert await every_call(peer, dict(reversed(list(alice.items())))) == [200] * 6


async def revoke_key(seed: Seeder, party: Party) -> None:
    await seed.execute("UPDATE api_keys SET revoked_at = now() WHERE subject_id = $1", party.id)


async def disable_holder(seed: Seeder, party: Party) -> None:
    async with seed.database.transaction() as connection:
        assert await disable_subject(connection, party.tenant_id, "user", party.name)


async def disable_account(seed: Seeder, party: Party) -> None:
    async with seed.database.transaction() as connection:
        assert await disable_tenant(connection, party.tenant_id)


@pytest.mark.parametrize("end", [revoke_key, disable_holder, disable_account])
async def test_what_ends_is_over_at_once_although_callers_keep_principals(
    peer: Peer, world: World, seed: Seeder, end: Any
) -> None:
    alice = await peer.principal(world.alice)
    task = await own_task(peer, alice)
    assert await peer.may(alice, "task", task, "read")
    await end(seed, world.alice)
    assert await every_call(peer, alice) == [401] * 6
    assert_refused(await peer.authn({"authorization": f"Bearer {world.alice.key}"}), 401)


# requests that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        [],
        {"resource": {"type": "task", "selector": "x"}},
        {"resource": {"type": "tenant", "selector": "x"}, "operation": "read"},
        {"resource": {"type": "task", "selector": "x"}, "operation": "share"},
        {"resource": {"type": "task", "selector": 7}, "operation": "read"},
        {"resource": {"type": "task", "selector": "a\0b"}, "operation": "read"},
    ],
)
async def test_what_is_no_question_gets_no_yes(peer: Peer, world: World, body: Any) -> None:
    if isinstance(body, dict):
        body = {"principal": await peer.principal(world.root), **body}
    assert_refused(await peer.post("/v1/authz/check", body), 422)


async def test_refusals_are_recorded(peer: Peer, world: World, seed: Seeder) -> None:
    alice, bob = await peer.principal(world.alice), await peer.principal(world.bob)
    task = await own_task(peer, alice)
    assert_refused(await peer.deregister(bob, "task", task))
    rows = await seed.wait_for_rows(
        1, "SELECT actor_id, action, outcome, resource_id FROM audit WHERE tenant_id = $1", world.tenant_id
    )
    assert rows == [
        {
            "actor_id": world.bob.id,
            "action": "task.deregister",
            "outcome": "denied",
            "resource_id": f"{world.tenant_id}/{task}",
        }
    ]
