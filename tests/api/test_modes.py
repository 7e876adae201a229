"""Who decides in each mode: one table of roles, switches under requests, caps and aliases."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.agent import FakeAgent
from support.databases import make_database
from support.graph import Party, World, make_world, open_seeder
from support.modes import adopt_tenant, confirm, move
from support.processes import run_remit
from support.roles_table import BY_BOTH, BY_RELATIONSHIPS, BY_ROLES, draw_table, normal, parties_of
from support.server import Server, serve

from remit.authz.modes import Mode
from remit.db.embedded import EmbeddedPostgres
from remit.errors import Unavailable

EXPECTED: dict[Mode, str] = {"off": BY_ROLES, "write": BY_ROLES, "shadow": BY_ROLES, "enforce": BY_RELATIONSHIPS}


@pytest.mark.parametrize("mode", EXPECTED)
async def test_operations_of_each_mode(own_server: Server, own_world: World, fake: FakeAgent, mode: Mode) -> None:
    world = own_world
    mine, other = await world.make_agent(fake.url, "async"), await world.make_agent(fake.url)
    await move(world.seed, world.tenant_id, mode, own_server)
    parties = await parties_of(world, mine, other)
    assert await draw_table(parties, world.alice, mine) == normal(EXPECTED[mode])
    # A list shows what can be read, and nothing else.
    tasks = {task["id"] for task in (await world.root.get("/tasks", limit=1000)).json()}
    for party in parties.values():
        readable = {id for id in tasks if (await party.get(f"/tasks/{id}")).status_code == 200}
        assert {task["id"] for task in (await party.get("/tasks", limit=1000)).json()} == readable
    creators = [
        name for name, party in parties.items() if (await party.rpc(mine, "task/create")).json()["error"] is None
    ]
    assert creators == ["alice", "bob", "bot", "root", "mine"]


@pytest.mark.parametrize(("mode", "registered"), [("off", False), ("write", True), ("shadow", True), ("enforce", True)])
async def test_what_is_registered(
    own_server: Server, own_world: World, fake: FakeAgent, mode: Mode, registered: bool
) -> None:
    world = own_world
    await move(world.seed, world.tenant_id, mode, own_server)
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    assert bool(await world.seed.relationships_of("task", task["id"])) is registered
    assert bool(await world.seed.relationships_of("agent", agent.id)) is registered
    # Memberships are written in every mode.
    members = await world.seed.relationships_of("tenant", world.tenant_id)
    assert agent.subject in [fact.subject for fact in members]
    shared = await world.root.put(
        f"/tasks/{task['id']}/access", {"subject_type": "user", "subject_id": "bob", "role": "viewer"}
    )
    assert shared.status_code == (200 if registered else 409), shared.text
    assert (await world.alice.delete(f"/tasks/{task['id']}")).status_code == 200
    assert await world.seed.relationships_of("task", task["id"]) == []


@pytest.fixture
async def capped(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[tuple[Server, World]]:
    with make_database(postgres, template) as dsn:
        async with serve(dsn, authz_mode_cap="write") as server, open_seeder(dsn, server.url) as seed:
            yield server, await make_world(seed)


async def test_a_cap_asks_both_where_relationships_have_decided(capped: tuple[Server, World], fake: FakeAgent) -> None:
    server, world = capped
    mine, other = await world.make_agent(fake.url, "async"), await world.make_agent(fake.url)
    parties = await parties_of(world, mine, other)
    assert await draw_table(parties, world.alice, mine) == normal(BY_BOTH)
    visible = (await world.bob.get("/tasks")).json()
    assert visible == []
    # A tenant that was adopted and never enforced is capped as its mode says.
    async with open_seeder(server.dsn, server.url) as seed:
        adopted = await make_world(seed)
        await adopt_tenant(seed, adopted.tenant_id, server)
        for mode in ("write", "shadow"):
            await move(seed, adopted.tenant_id, mode, server)
        theirs = await adopted.make_agent(fake.url, "async")
        parties = await parties_of(adopted, theirs, await adopted.make_agent(fake.url))
        assert await draw_table(parties, adopted.alice, theirs) == normal(BY_ROLES)


@pytest.mark.parametrize(("value", "registered"), [("true", True), ("0", False)])
async def test_the_alias_raises_adopted_tenants_without_a_mode(
    database: str, fake: FakeAgent, monkeypatch: pytest.MonkeyPatch, value: str, registered: bool
) -> None:
    monkeypatch.setenv("FGAC_TASKS_DUAL_WRITE", value)
    async with serve(database) as server, open_seeder(database, server.url) as seed:
        world = await make_world(seed)
        await adopt_tenant(seed, world.tenant_id, server)
        agent = await world.make_agent(fake.url)
        task = await world.alice.make_task(agent)
        assert bool(await seed.relationships_of("task", task["id"])) is registered
        assert await seed.relationships_of("agent", agent.id) == []
        # A stored mode goes before the alias.
        await move(seed, world.tenant_id, "off", server)
        task = await world.alice.make_task(agent)
        assert await seed.relationships_of("task", task["id"]) == []


async def test_a_mode_that_cannot_be_confirmed_is_the_strictest_known(
    own_server: Server, own_world: World, fake: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, modes = own_world, own_server.app.state.decider.modes
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    path = f"/tasks/{task['id']}"
    assert (await world.bob.get(path)).status_code == 404
    await move(world.seed, world.tenant_id, "write", own_server)
    assert (await world.bob.get(path)).status_code == 200
    now = modes._clock()
    monkeypatch.setattr(modes, "_clock", lambda: now)
    await confirm(own_server)
    refresh = modes.refresh

    async def fail(_connection: object) -> None:
        raise Unavailable("The modes cannot be read.")

    monkeypatch.setattr(modes, "refresh", fail)
    monkeypatch.setattr(modes, "_clock", lambda: now + 0.9)
    assert (await world.bob.get(path)).status_code == 200
    monkeypatch.setattr(modes, "_clock", lambda: now + 1.6)
    assert (await world.bob.get(path)).status_code == 404
    assert (await world.alice.get(path)).status_code == 200
    # Once it can be read, the next request finds it so, before the book's own loop does.
    monkeypatch.setattr(modes, "refresh", refresh)
    assert (await world.bob.get(path)).status_code == 200


async def test_a_switch_under_requests_in_two_processes(database: str, fake: FakeAgent) -> None:
    with run_remit(None, REMIT_DATABASE_URL=database) as first, run_remit(None, REMIT_DATABASE_URL=database) as second:
        async with open_seeder(database, first.url) as seed, open_seeder(database, second.url) as away:
            await switch_under_requests(await make_world(seed), away.http, fake)


async def switch_under_requests(world: World, away: object, fake: FakeAgent) -> None:
    """Bob reads a task of alice's through two servers while the mode moves; each answer is that of one of the modes."""
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    elsewhere = Party(away, "user", world.bob.id, "bob", world.tenant_id, world.bob.key)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    answers: list[tuple[float, float, int]] = []
    moved: list[tuple[float, int]] = [(float("-inf"), 404)]
    done = asyncio.Event()

    async def read(party: Party) -> None:
        while not done.is_set():
            begun = loop.time()
            status = (await party.get(f"/tasks/{task['id']}")).status_code
            answers.append((begun, loop.time(), status))
            await asyncio.sleep(0.002)  # others have to do their work, too

    readers = [asyncio.create_task(read(party)) for party in (world.bob, world.bob, elsewhere, elsewhere)]
    for mode, status in (("write", 200), ("enforce", 404), ("off", 200), ("enforce", 404)):
        await move(world.seed, world.tenant_id, mode)  # type: ignore[arg-type]  # a mode
        moved.append((loop.time(), status))
        await asyncio.sleep(1.2)
    done.set()
    await asyncio.gather(*readers)
    for begun, ended, status in answers:
        # What held at some moment from a second before the request began to its end.
        held = {s for t, s in moved if begun - 1.0 <= t <= ended} | {[s for t, s in moved if t <= begun - 1.0][-1]}
        # A move that commits while a request runs is recorded a moment later than it holds.
        held |= {s for t, s in moved if ended <= t <= ended + 0.2}
        assert status in held, (begun, ended, status, moved)
    assert {status for _, _, status in answers} == {200, 404}
