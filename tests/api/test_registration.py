"""How an agent process makes itself known, and what an agent's key reaches."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, Seeder, World, make_world, open_seeder, text
from support.server import Server, serve

from remit.agents.service import enroll_agent
from remit.audit import AuditEntry
from remit.identity.secrets import make_secret

OPERATOR = AuditEntry(tenant_id=None, actor_type="operator", actor_id=None, action="agent.enroll", outcome="done")
URL = "http://127.0.0.1:9"


def body(name: str, url: str = URL, **more: object) -> Json:
    return {"name": name, "acp_url": url, "acp_type": "sync", "description": "d", "principal_context": None, **more}


async def enroll(world: World, name: str) -> AgentParty:
    async with world.seed.database.transaction() as connection:
        enrolled = await enroll_agent(
            connection, world.seed.engine, tenant_id=world.tenant_id, name=name, actor=OPERATOR
        )
    assert enrolled is not None
    return AgentParty(world.seed.http, "agent", enrolled[0], name, world.tenant_id, enrolled[1])


async def url_of(world: World, agent_id: str) -> str | None:
    (row,) = await world.seed.fetch("SELECT acp_url FROM agents WHERE id = $1", agent_id)
    url: str | None = row["acp_url"]
    return url


async def test_an_enrolled_agent_registers_with_its_key(world: World) -> None:
    agent = await enroll(world, "enrolled")
    for n in range(2):
        response = await agent.post(
            "/agents/register", body("enrolled", registration_metadata={f"k{n}": n, "deployment_id": "d"})
        )
        assert response.status_code == 200
        registered = response.json()
        assert (registered["id"], registered["agent_api_key"]) == (agent.id, agent.key)
        assert (registered["status"], registered["acp_type"]) == ("Ready", "sync")
        assert "acp_url" not in registered
    assert registered["registration_metadata"] == {"k0": 0, "k1": 1, "deployment_id": "d"}
    assert (await world.alice.get("/agents/name/enrolled")).json()["status"] == "Ready"


async def test_enrolment_is_audited_without_the_secret(world: World) -> None:
    agent = await enroll(world, "audited")
    (row,) = await world.seed.fetch("SELECT action, detail FROM audit WHERE resource_id = $1", agent.id)
    assert row["action"] == "agent.enroll"
    assert agent.secret not in str(row)


async def test_a_key_registers_its_own_agent_only(world: World) -> None:
    agent, other = await enroll(world, "one"), await enroll(world, "other")
    assert (await agent.post("/agents/register", body("other"))).status_code == 403
    assert (await agent.post("/agents/register", body("new"))).status_code == 403
    assert (await agent.post("/agents/register", body("one", agent_id=other.id))).status_code == 403
    assert await url_of(world, other.id) is None


async def test_without_a_key_enrolment_by_key_lets_nobody_in(world: World) -> None:
    await enroll(world, "known")
    for name in ("known", "unknown"):
        response = await world.nobody.post("/agents/register", body(name))
        assert response.status_code == 401
        assert "agent_api_key" not in response.text
    bad = await world.nobody.call(
        "POST", "/agents/register", json=body("known"), headers={"x-agent-api-key": make_secret("agent")}
    )
    assert bad.status_code == 401


async def test_the_body_proves_nothing(world: World) -> None:
    claims: Json = {
        "principal_context": {"user_id": world.alice.id, "tenant_id": world.tenant_id, "account_id": world.tenant_id},
        "tenant_id": world.tenant_id,
        "agent_api_key": "x",
    }
    assert (await world.nobody.post("/agents/register", body("claims", **claims))).status_code == 401
    made = (await world.mallory.post("/agents/register", body("claims", **claims))).json()
    (row,) = await world.seed.fetch("SELECT tenant_id, creator_user_id FROM agents WHERE id = $1", made["id"])
    assert row == {"tenant_id": world.mallory.tenant_id, "creator_user_id": world.mallory.id}


async def test_a_user_who_registers_owns_the_agent_and_gets_its_key(world: World, fake: FakeAgent) -> None:
    made = (await world.alice.post("/agents/register", body("mine", fake.url))).json()
    agent = AgentParty(world.seed.http, "agent", made["id"], "mine", world.tenant_id, made["agent_api_key"])
    assert (await agent.get("/me")).json()["id"] == made["id"]
    again = (await world.alice.post("/agents/register", body("mine", fake.url))).json()
    assert (again["id"], again["agent_api_key"]) == (made["id"], None)
    assert (await world.bob.delete(f"/agents/{made['id']}")).status_code == 403
    assert (await world.alice.delete(f"/agents/{made['id']}")).status_code == 200


async def test_an_agents_address_is_moved_by_who_may_update_it(world: World) -> None:
    public = await world.make_agent(URL, owner=world.alice)
    private = await world.make_agent(URL, owner=world.alice, private=True)
    moved = "http://127.0.0.1:10"
    for party, agent, status in (
        (world.bob, public, 403),
        (world.bob, private, 404),
        (world.viewer, public, 404),
        (world.alice, public, 200),
        (world.root, private, 200),
        (private, private, 200),
    ):
        await world.seed.execute("UPDATE agents SET acp_url = $2 WHERE id = $1", agent.id, URL)
        response = await party.post("/agents/register", body(agent.name, moved))
        assert response.status_code == status, party.name
        assert await url_of(world, agent.id) == (moved if status == 200 else URL)
        assert "remit_" not in response.text or party is private


async def test_a_viewer_of_the_tenant_makes_no_agent(world: World) -> None:
    assert (await world.viewer.post("/agents/register", body("new"))).status_code == 403


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254",
        "http://169.254.169.254/latest/meta-data",
        "http://metadata.google.internal",
        "http://[fe80::1]:80",
        "http://[fd00:ec2::254]",
        "http://[::ffff:169.254.169.254]",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0.0.0.0:80",
        "http://user:secret@127.0.0.1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "//127.0.0.1",
        "",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1/\r\nx: y",
        "http://exa mple",
        "http://127.0.0.1?x=1",
    ],
)
async def test_an_address_that_the_server_must_not_call_is_422(world: World, url: str) -> None:
    agent = await enroll(world, "agent")
    for party in (agent, world.alice):
        response = await party.post("/agents/register", body("agent", url))
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "body.acp_url"
        assert not url or url not in response.text
    assert await url_of(world, agent.id) is None


@pytest.mark.parametrize("name", ["", "UPPER", "with space", "a/b", "a\nb", "ä", "x" * 129, "a_b", "agent\n"])
async def test_a_name_that_cannot_be_is_422(world: World, name: str) -> None:
    response = await world.alice.post("/agents/register", body(name))
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body.name"


async def test_an_agents_key_touches_the_tasks_of_its_own_agent(world: World, fake: FakeAgent) -> None:
    mine, other = await world.make_agent(fake.url, "async"), await world.make_agent(fake.url, "async")
    task, foreign = await world.alice.make_task(mine), await world.alice.make_task(other)
    for path, body_ in (
        (f"/tasks/{task['id']}", None),
        (f"/messages?task_id={task['id']}", None),
        (f"/states?task_id={task['id']}", None),
        (f"/events?task_id={task['id']}&agent_id={mine.id}", None),
    ):
        assert (await mine.call("GET", path, json=body_)).status_code == 200
    for method, path, sent in (
        ("GET", f"/tasks/{foreign['id']}", None),
        ("PUT", f"/tasks/{foreign['id']}", {}),
        ("DELETE", f"/tasks/{foreign['id']}", None),
        ("POST", f"/tasks/{foreign['id']}/complete", {}),
        ("GET", f"/messages?task_id={foreign['id']}", None),
        ("POST", "/messages", {"task_id": foreign["id"], "content": text("x")}),
        ("POST", "/states", {"task_id": foreign["id"], "agent_id": mine.id, "state": {}}),
        ("GET", f"/events?task_id={foreign['id']}&agent_id={other.id}", None),
        ("GET", f"/tasks/{foreign['id']}/stream", None),
        ("POST", f"/agents/{other.id}/rpc", {"method": "task/create", "params": {}}),
        ("POST", f"/agents/{other.id}/rpc", {"method": "task/cancel", "params": {"task_id": foreign["id"]}}),
        ("GET", f"/agents/{other.id}", None),
        ("DELETE", f"/agents/{other.id}", None),
    ):
        assert (await mine.call(method, path, json=sent)).status_code == 404, f"{method} {path}"
    assert [listed["id"] for listed in (await mine.get("/tasks")).json()] == [task["id"]]
    assert (await mine.delete(f"/agents/{mine.id}")).status_code == 403
    assert (await mine.post(f"/tasks/{task['id']}/complete")).status_code == 200


@pytest.fixture
async def open_server(database: str) -> AsyncIterator[Server]:
    async with serve(database, agent_enrollment="open") as server:
        yield server


@pytest.fixture
async def open_seed(open_server: Server) -> AsyncIterator[Seeder]:
    async with open_seeder(open_server.dsn, open_server.url) as seeder:
        yield seeder


def nobody(seed: Seeder) -> Party:
    return Party(seed.http, "user", "", "nobody", "", None)


async def test_open_enrolment_gives_a_new_name_a_key_once(open_seed: Seeder) -> None:
    await open_seed.make_tenant("only")
    process = nobody(open_seed)
    first = await process.post("/agents/register", body("echo"))
    assert first.status_code == 200
    key = first.json()["agent_api_key"]
    assert key.startswith("remit_agent_")
    second = await process.post("/agents/register", body("echo", "http://127.0.0.1:10"))
    assert second.status_code == 401
    assert key not in second.text
    third = await process.call("POST", "/agents/register", json=body("echo"), headers={"x-agent-api-key": key})
    assert third.status_code == 200
    assert (third.json()["id"], third.json()["agent_api_key"]) == (first.json()["id"], key)
    (row,) = await open_seed.fetch("SELECT acp_url FROM agents")
    assert row["acp_url"] == URL


async def test_open_enrolment_at_once_gives_one_key(open_seed: Seeder) -> None:
    await open_seed.make_tenant("only")
    process = nobody(open_seed)
    answers = await asyncio.gather(*(process.post("/agents/register", body("echo")) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    assert len(await open_seed.fetch("SELECT 1 FROM api_keys")) == 1


async def test_open_enrolment_is_refused_when_the_tenant_is_not_clear(open_seed: Seeder) -> None:
    process = nobody(open_seed)
    assert (await process.post("/agents/register", body("echo"))).status_code == 400
    world = await make_world(open_seed)
    response = await process.post("/agents/register", body("echo"))
    assert response.status_code == 400
    assert "REMIT_DEFAULT_TENANT" in response.json()["message"]
    assert await open_seed.fetch("SELECT 1 FROM agents") == []
    await open_seed.execute("UPDATE tenants SET disabled_at = now() WHERE id <> $1", world.tenant_id)
    assert (await process.post("/agents/register", body("echo"))).status_code == 200


async def test_open_enrolment_goes_to_the_default_tenant(database: str) -> None:
    async with (
        serve(database, agent_enrollment="open", default_tenant="second") as server,
        open_seeder(database, server.url) as seed,
    ):
        await seed.make_tenant("first")
        second = await seed.make_tenant("second")
        assert (await nobody(seed).post("/agents/register", body("echo"))).status_code == 200
        assert await seed.fetch("SELECT tenant_id FROM agents") == [{"tenant_id": second}]


async def test_open_enrolment_serves_this_machine_only(open_seed: Seeder) -> None:
    await open_seed.make_tenant("only")
    process = nobody(open_seed)
    # The local proxy says for whom it asks.
    headers = {"x-forwarded-for": "203.0.113.9"}
    response = await process.call("POST", "/agents/register", json=body("echo"), headers=headers)
    assert response.status_code == 401
    assert await open_seed.fetch("SELECT 1 FROM agents") == []


async def test_only_listed_hosts_are_called_when_there_is_a_list(database: str) -> None:
    async with (
        serve(database, agent_hosts=["*.agents.example"]) as server,
        open_seeder(database, server.url) as seed,
    ):
        world = await make_world(seed)
        assert (await world.alice.post("/agents/register", body("a"))).status_code == 422
        assert (await world.alice.post("/agents/register", body("a", "http://x.agents.example"))).status_code == 200


async def test_a_build_is_shared_before_it_runs(world: World, fake: FakeAgent) -> None:
    built = {"name": "built", "description": "d", "agent_input_type": "text", "registration_metadata": {"commit": "c"}}
    first = await world.alice.post("/agents/register-build", built)
    assert first.status_code == 200, first.text
    agent = first.json()
    told = {name: agent[name] for name in ("status", "acp_type", "creator_user_id", "registration_metadata")}
    assert told == {
        "status": "BuildOnly",
        "acp_type": "async",
        "creator_user_id": "alice",
        "registration_metadata": {"commit": "c"},
    }
    again = await world.alice.post("/agents/register-build", {**built, "description": "other"})
    assert again.json() == agent, "a second build changes nothing"
    assert (await world.bob.rpc("built", "task/create")).status_code == 400, "nobody listens there yet"
    body = {"subject_type": "user", "subject_id": "bob", "role": "editor"}
    assert (await world.alice.put(f"/agents/{agent['id']}/access", body)).status_code == 200
    # Whoever may change it makes the key with which its process registers.
    made = await world.bob.post("/agent_api_keys", {"agent_id": agent["id"], "name": "k", "api_key_type": "internal"})
    process = AgentParty(world.seed.http, "agent", agent["id"], "built", world.tenant_id, made.json()["api_key"])
    registered = await process.post("/agents/register", {"name": "built", "acp_url": fake.url, "acp_type": "sync"})
    assert (registered.json()["status"], registered.json()["id"]) == ("Ready", agent["id"])
    assert (await world.bob.rpc("built", "task/create")).status_code == 200
    (row,) = await world.seed.fetch(
        "SELECT action FROM audit WHERE resource_id = $1 AND action LIKE 'agent.b%'", agent["id"]
    )
    assert row["action"] == "agent.build"


async def test_two_builds_of_a_name_at_once_are_one_agent(world: World) -> None:
    built = {"name": "at-once", "description": "d"}
    answers = await asyncio.gather(*(world.bob.post("/agents/register-build", built) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_build_needs_the_right_to_make_agents(world: World) -> None:
    built = {"name": "refused", "description": "d"}
    assert (await world.viewer.post("/agents/register-build", built)).status_code == 403
    assert (await world.nobody.post("/agents/register-build", built)).status_code == 401
    assert (await world.alice.post("/agents/register-build", {**built, "name": "No Name"})).status_code == 422
