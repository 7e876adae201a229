"""A key that was good a moment ago decides nothing: once it is not, no request of any kind is answered."""

import re
from dataclasses import replace

import pytest
from fastapi.routing import APIRoute
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World, make_world, open_seeder, text
from support.modes import move
from support.remote import MemoryRemote
from support.server import Server, record_statements, serve

from remit.app import ROUTERS
from remit.audit import AuditEntry
from remit.authz.elsewhere import Elsewhere
from remit.authz.modes import Mode
from remit.authz.subject_names import SubjectNames
from remit.identity.presumed import KEPT_SECONDS, MOST_KEPT, PresumedKeys, unknown_key
from remit.identity.principal import Principal
from remit.identity.secrets import hash_secret
from remit.ids import new_id

OF_SUBJECT = "FROM subjects s WHERE s.id = $1 AND s.tenant_id = tenants.id"
ENDS = {
    "key revoked": "UPDATE api_keys SET revoked_at = now() WHERE subject_id = $1",
    "key expired": "UPDATE api_keys SET expires_at = now() WHERE subject_id = $1",
    "subject disabled": "UPDATE subjects SET disabled_at = now() WHERE id = $1",
    "subject of another name": "UPDATE subjects SET external_id = 'another' WHERE id = $1",
    "tenant disabled": f"UPDATE tenants SET disabled_at = now() {OF_SUBJECT}",
}
MENDS = {
    "key revoked": "UPDATE api_keys SET revoked_at = NULL WHERE subject_id = $1",
    "key expired": "UPDATE api_keys SET expires_at = NULL WHERE subject_id = $1",
    "subject disabled": "UPDATE subjects SET disabled_at = NULL WHERE id = $1",
    "subject of another name": "UPDATE subjects SET external_id = 'alice' WHERE id = $1",
    "tenant disabled": f"UPDATE tenants SET disabled_at = NULL {OF_SUBJECT}",
}


def requests(agent: AgentParty, task: Json) -> dict[str, tuple[str, str, object]]:
    rpc = f"/agents/{agent.id}/rpc"
    return {
        "a row": ("GET", f"/tasks/{task['id']}", None),
        "an absent row": ("GET", f"/tasks/{new_id()}", None),
        "a list": ("GET", "/tasks", None),
        "an empty list": ("GET", "/tasks?status=FAILED", None),
        "no row": ("GET", "/me", None),
        "an id that is none": ("GET", "/tasks/none", None),
        "a bad body": ("POST", "/messages", {"task_id": 7}),
        "a list by number, too deep": ("GET", "/tasks?limit=1000&page_number=1000", None),
        "a child": ("GET", f"/messages?task_id={task['id']}", None),
        "a child by id": ("GET", f"/messages/{new_id()}", None),
        "a write": ("POST", "/messages", {"task_id": task["id"], "content": text("x")}),
        "a batch": ("POST", "/messages/batch", {"task_id": task["id"], "contents": [text("x")]}),
        "a transition": ("POST", f"/tasks/{task['id']}/complete", {}),
        "a deletion": ("DELETE", f"/tasks/{task['id']}", None),
        "a stream": ("GET", f"/tasks/{task['id']}/stream", None),
        "a create": ("POST", rpc, {"method": "task/create", "params": {}}),
        "a create by name": ("POST", rpc, {"method": "task/create", "params": {"name": "new"}}),
        "a call of no method": ("POST", rpc, {"method": "task/none"}),
        "a send": ("POST", rpc, {"method": "message/send", "params": {"task_id": task["id"], "content": text("x")}}),
        "a streamed send": (
            "POST",
            rpc,
            {"method": "message/send", "params": {"task_id": task["id"], "content": text("x"), "stream": True}},
        ),
        "a send to a new task": ("POST", rpc, {"method": "message/send", "params": {"content": text("x")}}),
        "an event": ("POST", rpc, {"method": "event/send", "params": {"task_id": task["id"]}}),
        "a call by the agent's name": ("POST", f"/agents/name/{agent.name}/rpc", {"method": "task/create"}),
        "states": ("GET", f"/states?task_id={task['id']}&agent_id={agent.id}", None),
        "spans": ("GET", f"/spans?task_id={task['id']}", None),
        "events": ("GET", f"/events?task_id={task['id']}&agent_id={agent.id}", None),
        "trackers": ("GET", "/tracker", None),
        "agents": ("GET", "/agents", None),
        "who has access": ("GET", f"/tasks/{task['id']}/access", None),
        "a share": (
            "PUT",
            f"/tasks/{task['id']}/access",
            {"subject_type": "user", "subject_id": "bob", "role": "viewer"},
        ),
        "why": ("GET", f"/authz/why?resource=task:{task['id']}&permission=read", None),
        "what is not built": ("GET", "/deployment-history", None),
        "many questions": ("GET", "/access/me?type=task&operation=cancel", None),
    }


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_is_answered_to_a_key_that_ended(
    own_server: Server, own_world: World, fake: FakeAgent, end: str
) -> None:
    agent = await own_world.make_agent(fake.url)
    task = await own_world.alice.make_task(agent)
    before = await own_world.seed.fetch("SELECT * FROM tasks"), await own_world.seed.fetch("SELECT * FROM messages")
    own_server.app.state.presumed_keys.now = lambda: 0.0  # what is known stays so
    answers = {}
    for name, (method, path, body) in requests(agent, task).items():
        assert (await own_world.alice.get("/me")).json()["name"] == "alice"
        with record_statements(own_server) as statements:
            assert (await own_world.alice.get(f"/tasks/{task['id']}")).status_code == 200
        assert len(statements) == 1, "the key is presumed"
        await own_world.seed.execute(ENDS[end], own_world.alice.id)
        answers[name] = (await own_world.alice.call(method, path, json=body)).status_code
        await own_world.seed.execute(MENDS[end], own_world.alice.id)
    assert answers == dict.fromkeys(answers, 401)
    after = await own_world.seed.fetch("SELECT * FROM tasks"), await own_world.seed.fetch("SELECT * FROM messages")
    assert after == before
    assert not fake.calls


async def test_a_key_that_ended_is_replayed_nothing_and_takes_no_idempotency_key(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    alice, seed = own_world.alice, own_world.seed
    task = await alice.make_task(await own_world.make_agent(fake.url))
    own_server.app.state.presumed_keys.now = lambda: 0.0

    async def write(key: str) -> int:
        body = {"task_id": task["id"], "content": text("x")}
        response = await alice.call("POST", "/messages", json=body, headers={"idempotency-key": key})
        return response.status_code

    assert await write("known") == 200
    assert await write("known") == 200, "replayed"
    before = await seed.fetch("SELECT * FROM idempotent_requests")
    for key in ("known", "new"):
        await seed.execute(ENDS["key revoked"], alice.id)
        assert await write(key) == 401
        await seed.execute(MENDS["key revoked"], alice.id)
        assert (await alice.get("/me")).status_code == 200
    assert await seed.fetch("SELECT * FROM idempotent_requests") == before
    assert len(await seed.fetch("SELECT * FROM messages")) == 1


async def test_a_key_that_ended_over_its_rate_is_refused_as_such_and_not_counted(database: str) -> None:
    async with serve(database, rate_limit="3/hour") as server, open_seeder(database, server.url) as seed:
        world = await make_world(seed)
        assert [(await world.alice.get("/tasks")).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert (await world.bob.get("/tasks")).status_code == 200
        for party in (world.alice, world.bob):
            await seed.execute(ENDS["key revoked"], party.id)
        assert [(await world.alice.get("/tasks")).status_code for _ in range(2)] == [401, 401]
        assert [(await world.bob.get("/tasks")).status_code for _ in range(9)] == [401] * 9
        await seed.execute(MENDS["key revoked"], world.bob.id)
        assert [(await world.bob.get("/tasks")).status_code for _ in range(3)] == [200, 200, 429]


async def test_a_refusal_is_not_recorded_of_a_key_that_ended(
    own_server: Server, own_world: World, fake: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await own_world.alice.make_task(await own_world.make_agent(fake.url))
    await own_world.alice.share(task, own_world.bob, "viewer")
    own_server.app.state.presumed_keys.now = lambda: 0.0
    recorded: list[AuditEntry] = []
    monkeypatch.setattr(own_server.app.state.audit, "record", recorded.append)
    for _ in range(2):
        assert (await own_world.bob.delete(f"/tasks/{task['id']}")).status_code == 403
    assert len(recorded) == 2
    await own_world.seed.execute(ENDS["key revoked"], own_world.bob.id)
    assert (await own_world.bob.delete(f"/tasks/{task['id']}")).status_code == 401
    assert len(recorded) == 2


# What anybody is answered, without a key.
OPEN = {"/healthz", "/readyz", "/healthcheck", "/metrics"}


async def read_everything(world: World) -> Json:
    """A digest of each table's rows."""
    tables = await world.seed.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    parts = [
        f"SELECT '{row['relname']}' AS name, md5(string_agg(t::text, chr(10) ORDER BY t::text)) AS digest"
        f" FROM {row['relname']} t"
        for row in tables
    ]
    return {row["name"]: row["digest"] for row in await world.seed.fetch(" UNION ALL ".join(parts))}


@pytest.mark.parametrize(
    ("mode", "engine"), [("off", "here"), ("enforce", "here"), ("shadow", "elsewhere"), ("enforce", "elsewhere")]
)
async def test_no_route_does_anything_for_a_key_that_ended(
    own_server: Server, own_world: World, fake: FakeAgent, monkeypatch: pytest.MonkeyPatch, mode: Mode, engine: str
) -> None:
    alice, state = own_world.alice, own_server.app.state
    agent = await own_world.make_agent(fake.url)
    task = await alice.make_task(agent)
    await move(own_world.seed, own_world.tenant_id, mode, own_server)
    remote = MemoryRemote(own_world.seed, state.engine.schema)
    if engine == "elsewhere":
        state.decider = replace(state.decider, elsewhere=Elsewhere(remote, SubjectNames(), 20))
    assert (await alice.get("/me")).status_code == 200
    presumption = state.presumed_keys.find(hash_secret(alice.secret))
    recorded: list[AuditEntry] = []
    monkeypatch.setattr(state.audit, "record", recorded.append)
    await own_world.seed.execute(ENDS["key revoked"], alice.id)
    remote.calls.clear()
    before = await read_everything(own_world)
    values = {"task_id": task["id"], "agent_id": agent.id, "agent_name": agent.name, "task_name": "n", "path": "x"}
    asked = {
        (m, r.path) for router in ROUTERS for r in router.routes if isinstance(r, APIRoute) for m in r.methods or ()
    }
    calls: dict[str, tuple[str, str, object]] = {
        f"{method} {path}": (method, fill(path, values), {}) for method, path in asked if path not in OPEN
    }
    assert len(calls) > 80
    calls |= requests(agent, task)
    answers = {}
    for name, (method, path, body) in calls.items():
        state.presumed_keys.note(hash_secret(alice.secret), presumption.principal)
        answers[name] = (await alice.call(method, path, json=body)).status_code
    assert answers == dict.fromkeys(answers, 401)
    assert await read_everything(own_world) == before
    assert (fake.calls, remote.calls, recorded) == ([], [], [])


def fill(path: str, values: Json) -> str:
    """A route's path with values in place of its parameters, a new id where there is none."""
    return re.sub(r"{(\w+)(:path)?}", lambda found: values.get(found[1]) or new_id(), path)


async def test_an_agents_key_ends_with_the_agent(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url)
    task = await own_world.alice.make_task(agent)
    for _ in range(2):
        assert (await agent.get(f"/tasks/{task['id']}")).status_code == 200
    with record_statements(own_server) as statements:
        assert (await agent.get(f"/tasks/{task['id']}")).status_code == 200
    assert len(statements) == 1
    await own_world.seed.execute("UPDATE agents SET status = 'Deleted' WHERE id = $1", agent.id)
    assert (await agent.get(f"/tasks/{task['id']}")).status_code == 401
    assert (await agent.get("/me")).status_code == 401


async def test_two_keys_of_two_principals_are_refused_although_both_are_known(world: World) -> None:
    party: Party = world.alice
    for one in (world.alice, world.bob):
        await one.get("/me")
    both = {"x-api-key": world.bob.secret, "authorization": f"Bearer {party.secret}"}
    assert (await party.http.get("/me", headers=both)).status_code == 400


def test_what_is_known_is_bounded_in_time_and_number() -> None:
    now = [0.0]
    keys = PresumedKeys(lambda: now[0])
    who = Principal("user", new_id(), new_id(), "tenant", "alice", new_id())
    for number in range(MOST_KEPT + 1):
        keys.note(number.to_bytes(32), who)
    assert keys.find((0).to_bytes(32)) is None
    assert keys.find((1).to_bytes(32)) is not None
    now[0] = KEPT_SECONDS + 1
    assert keys.find((1).to_bytes(32)) is None
    assert unknown_key().status == 401
