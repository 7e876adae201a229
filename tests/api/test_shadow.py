"""Shadow: what relationships would have answered, by direction and class, away from the requests."""

import asyncio
from dataclasses import replace

from support.agent import FakeAgent
from support.graph import World
from support.modes import move
from support.remote import MemoryRemote, down
from support.server import Server

from remit.authz.elsewhere import Elsewhere
from remit.authz.model import Resource
from remit.authz.shadow import MOST_WAITING, Asked, Shadow
from remit.authz.subject_names import SubjectNames
from remit.identity.authenticate import find_principal
from remit.identity.principal import Principal


async def test_differences_land_in_the_matrix(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    world = own_world
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.viewer, "editor")
    await move(world.seed, world.tenant_id, "off", own_server)
    bare = await world.alice.make_task(agent)
    await move(world.seed, world.tenant_id, "shadow", own_server)
    for party, id, status in (
        (world.alice, task["id"], 200),
        (world.bob, task["id"], 200),
        (world.bob, bare["id"], 200),
    ):
        assert (await party.get(f"/tasks/{id}")).status_code == status
    assert (await world.viewer.put(f"/tasks/{task['id']}", {})).status_code == 403
    rows = await world.seed.wait_for_rows(
        4, "SELECT permission, outcome, class, count FROM authz_shadow_counts WHERE tenant_id = $1", world.tenant_id
    )
    assert {tuple(row.values()) for row in rows} == {
        ("read", "both_allow", "agree", 1),
        ("read", "would_deny", "model_difference", 1),
        ("read", "would_deny", "not_backfilled", 1),
        ("update", "would_allow", "model_difference", 1),
    }
    samples = await world.seed.fetch("SELECT class, explanation FROM authz_shadow_samples")
    assert len(samples) == 3
    assert all("`remit" in row["explanation"] for row in samples)


async def test_drift_and_errors_of_an_engine_elsewhere(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    world, state = own_world, own_server.app.state
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await move(world.seed, world.tenant_id, "shadow", own_server)
    remote = MemoryRemote(world.seed, state.engine.schema, live=False)
    elsewhere = Elsewhere(remote, SubjectNames(), 0.2)
    shadow = Shadow(own_server.database, state.engine, elsewhere)
    principal = await _principal(world)
    asked = Asked(principal, "read", Resource("task", task["id"]), roles=True)
    assert (await shadow.compare(asked)).kind == "drift", "the engine knows nothing of what is delivered here"
    await remote.take_over()
    assert (await shadow.compare(asked)).outcome == "both_allow"
    remote.trouble = down()
    assert (await shadow.compare(asked)).kind == "engine_error"
    assert (await shadow.compare(replace(asked, roles=False))).outcome == "unknown"
    # What he asked for is done by the time it is compared: nothing is left to backfill.
    remote.trouble = None
    deleted = await world.alice.make_task(agent)
    assert (await world.alice.delete(f"/tasks/{deleted['id']}")).status_code == 200
    await remote.take_over()
    done = await shadow.compare(replace(asked, permission="delete", resource=Resource("task", deleted["id"])))
    assert (done.outcome, done.kind) == ("would_deny", "stale")
    # An engine that hangs keeps nobody waiting: requests are answered, and what does not fit is dropped.
    remote.trouble, remote.hold = None, asyncio.Event()
    slow = Shadow(own_server.database, state.engine, Elsewhere(remote, SubjectNames(), 20))
    state.decider = replace(state.decider, elsewhere=elsewhere, shadow=slow)
    running = asyncio.create_task(slow.run())
    for _ in range(3):
        assert (await world.alice.get(f"/tasks/{task['id']}")).status_code == 200
    for _ in range(MOST_WAITING + 10):
        slow.note(asked)
    assert (await world.alice.get(f"/tasks/{task['id']}")).status_code == 200
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _principal(world: World) -> Principal:
    principal = await find_principal(world.seed.database, world.alice.secret)
    assert principal is not None
    return principal
