"""Questions to an engine elsewhere: one statement, one call, nothing held meanwhile; trouble is never an answer."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World, make_world, open_seeder, text
from support.modes import move
from support.remote import MemoryRemote, down
from support.roles_table import BY_RELATIONSHIPS, BY_ROLES, draw_table, normal, parties_of
from support.server import Server, record_statements, serve

from remit.authz import decide, visible
from remit.authz.elsewhere import Elsewhere
from remit.authz.model import Relationship, Resource
from remit.authz.subject_names import SubjectNames
from remit.ids import LAST_ID, new_id

AUTHENTICATION = 0  # of a key that was seen lately: it is asked about in the statement that answers


def ask_elsewhere(server: Server, world: World, seconds: float = 20) -> MemoryRemote:
    """Let a server of this loop ask an engine in memory from now on."""
    state = server.app.state
    remote = MemoryRemote(world.seed, state.engine.schema)
    state.decider = replace(state.decider, elsewhere=Elsewhere(remote, SubjectNames(), seconds))
    return remote


@pytest.fixture
async def remote(own_server: Server, own_world: World) -> MemoryRemote:
    return ask_elsewhere(own_server, own_world)


@pytest.fixture
async def agent(own_world: World, fake: FakeAgent) -> AgentParty:
    return await own_world.make_agent(fake.url)


async def pend(world: World, type: str, id: str, *, revocation: bool, age: float = 0) -> None:
    """An entry of the outbox that nobody delivers."""
    await world.seed.execute(
        "INSERT INTO outbox (tenant_id, resource_type, resource_id, version, revocation, created_at) "
        "VALUES ($1, $2, $3, 1, $4, now() - make_interval(secs => $5))",
        world.tenant_id,
        type,
        id,
        int(revocation),
        age,
    )


async def write(world: World, type: str, id: str, relation: str, party: Party, *, delete: bool = False) -> None:
    """Write or remove a relationship locally, and nowhere else."""
    fact = Relationship(Resource(type, id), relation, party.subject)
    async with world.seed.database.transaction() as connection:
        await world.seed.engine.write(connection, touch=[] if delete else [fact], delete=[fact] if delete else [])


async def test_its_relationships_decide(
    own_server: Server, own_world: World, remote: MemoryRemote, fake: FakeAgent
) -> None:
    mine, other = await own_world.make_agent(fake.url, "async"), await own_world.make_agent(fake.url)
    parties = await parties_of(own_world, mine, other)
    assert await draw_table(parties, own_world.alice, mine) == normal(BY_RELATIONSHIPS)
    assert {q.subject.id for call in remote.calls for q in call} >= {"alice", "bob", mine.id}
    remote.calls.clear()
    await move(own_world.seed, own_world.tenant_id, "write", own_server)
    assert await draw_table(parties, own_world.alice, mine) == normal(BY_ROLES)
    assert {q.subject.id for call in remote.calls for q in call} == {"mallory"}, "roles decide in the other tenant"


async def test_one_statement_and_one_call(
    own_server: Server, own_world: World, remote: MemoryRemote, agent: AgentParty
) -> None:
    task = await own_world.alice.make_task(agent, "known")

    async def count(party: Party, method: str, path: str, body: object = None) -> tuple[int, list[list[str]]]:
        remote.calls.clear()
        with record_statements(own_server) as statements:
            await party.call(method, path, json=body)
        return len(statements) - AUTHENTICATION, [[q.permission for q in call] for call in remote.calls]

    path, missing = f"/tasks/{task['id']}", f"/tasks/{new_id()}"
    for party in (own_world.bob, own_world.mallory):
        await party.get("/me")
    assert await count(own_world.alice, "GET", path) == (1, [["read"]])
    assert await count(own_world.alice, "PUT", path, {}) == (2, [["update", "read"]])
    said = {"task_id": task["id"], "contents": [text("one"), text("two")]}
    assert await count(own_world.bob, "POST", "/messages/batch", said) == (1, [["update", "read"]])
    assert await count(own_world.alice, "POST", "/messages/batch", said) == (2, [["update", "read"]])
    stored = (await own_world.alice.get("/messages", task_id=task["id"])).json()
    assert [message["content"]["content"] for message in stored] == ["two", "one"]
    # What is hidden and what is absent take the same steps.
    for method, body, asked in (
        ("GET", None, ["read"]),
        ("PUT", {}, ["update", "read"]),
        ("DELETE", None, ["delete", "read"]),
    ):
        assert await count(own_world.bob, method, path, body) == (1, [asked])
        assert await count(own_world.bob, method, missing, body) == (1, [asked])
        assert await count(own_world.mallory, method, path, body) == (1, [asked])
    assert await count(own_world.bob, "GET", "/tasks/name/known") == (1, [["read"]])
    assert await count(own_world.bob, "GET", "/tasks/name/unknown") == (1, [["read"]])
    create = {"method": "task/create", "params": {}}
    assert await count(own_world.alice, "POST", f"/agents/{agent.id}/rpc", create) == (
        2,
        [["execute", "read", "create_task"]],
    )
    for _ in range(30):
        await own_world.alice.make_task(agent)
    statements, calls = await count(own_world.alice, "GET", "/tasks")
    assert statements == 2
    assert [len(call) for call in calls] == [32]
    # What is laid over the answers is in the same statement, and takes no further call.
    await pend(own_world, "task", task["id"], revocation=False)
    assert await count(own_world.alice, "GET", path) == (1, [])
    assert await count(own_world.bob, "GET", path) == (1, [["read"]])
    await pend(own_world, "task", task["id"], revocation=True)
    assert await count(own_world.alice, "GET", path) == (1, [])
    assert await count(own_world.bob, "GET", path) == (1, [["read"]]), "what is denied takes as long as what is absent"
    statements, calls = await count(own_world.alice, "GET", "/tasks")
    assert (statements, len(calls)) == (2, 1)


async def test_a_repeat_gets_the_task_of_its_first(own_world: World, remote: MemoryRemote, agent: AgentParty) -> None:
    def create(retries: int) -> Any:
        headers = {"x-stainless-retry-count": str(retries)}
        body = {"method": "task/create", "params": {}}
        return own_world.alice.call("POST", f"/agents/{agent.id}/rpc", json=body, headers=headers)

    answers = [*await asyncio.gather(*map(create, (0, 1, 1))), await create(2)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json()["result"]["id"] for answer in answers}) == 1


async def test_no_connection_is_held_while_it_is_asked(database: str, fake: FakeAgent) -> None:
    async with serve(database, pool_size=1, pool_timeout=20) as server, open_seeder(database, server.url) as seed:
        world = await make_world(seed)
        task = await world.alice.make_task(await world.make_agent(fake.url))
        remote = ask_elsewhere(server, world)
        remote.hold = asyncio.Event()
        paths = (f"/tasks/{task['id']}", "/tasks", "/agents", f"/tasks/{task['id']}/access", "/states")
        reads = [asyncio.create_task(world.alice.get(path)) for path in paths]
        async with asyncio.timeout(20):
            await remote.called(len(paths) - 1)  # nothing has a state, so nothing is asked about states
        assert (await world.alice.get("/readyz")).status_code == 200
        remote.hold.set()
        assert [(await read).status_code for read in reads] == [200] * len(paths)


async def every_kind_of_request(party: Party, agent: AgentParty, task: Json) -> dict[str, httpx.Response]:
    path = f"/tasks/{task['id']}"
    span = {"id": "s", "trace_id": "t", "name": "n", "task_id": task["id"], "start_time": "2026-01-01T00:00:00Z"}
    return {
        "get": await party.get(path),
        "absent": await party.get(f"/tasks/{new_id()}"),
        "put": await party.put(path, {}),
        "delete": await party.delete(path),
        "list": await party.get("/tasks"),
        "agents of a task": await party.get("/agents", task_id=task["id"]),
        "states": await party.get("/states", task_id=task["id"]),
        "trackers": await party.get("/tracker"),
        "access": await party.get(f"{path}/access"),
        "share": await party.put(f"{path}/access", {"subject_type": "user", "subject_id": "bob", "role": "viewer"}),
        "span": await party.post("/spans", span),
        "trace": await party.get("/spans", trace_id="known"),
        "me": await party.get("/me"),
        "create": await party.rpc(agent, "task/create"),
        "send": await party.send(agent, task),
    }


@pytest.mark.parametrize("trouble", ["refuses", "hangs"])
async def test_no_answer_is_neither_an_allow_nor_an_absence(
    own_server: Server, own_world: World, agent: AgentParty, trouble: str
) -> None:
    world = own_world
    task = await world.alice.make_task(agent)
    span = {"id": "k", "trace_id": "known", "name": "n", "task_id": task["id"], "start_time": "2026-01-01T00:00:00Z"}
    assert (await world.alice.post("/spans", span)).status_code == 200
    remote = ask_elsewhere(own_server, world, seconds=0.1)
    if trouble == "refuses":
        remote.trouble = down()
    else:
        remote.hold = asyncio.Event()
    for party in (world.alice, world.bob, world.root, agent):
        for name, response in (await every_kind_of_request(party, agent, task)).items():
            body: dict[str, Any] = response.json()
            if name in ("create", "send") and response.status_code == 200:
                assert body["error"]["message"].startswith("Authorization cannot be decided"), (name, body)
                continue
            assert (response.status_code, body["type"]) == (503, "urn:remit:problem:authorization-unavailable"), name
            assert "it is away" not in response.text
    remote.trouble = remote.hold = None
    assert (await world.alice.get(f"/tasks/{task['id']}")).status_code == 200


async def test_a_pending_grant_serves_at_once(own_world: World, remote: MemoryRemote, agent: AgentParty) -> None:
    world = own_world
    remote.live = False
    await remote.take_over()
    task = await _insert_task(world, agent)
    path = f"/tasks/{task}"
    assert (await world.alice.get(path)).status_code == 404, "nothing is pending, and the engine does not know it"
    await pend(world, "task", task, revocation=False)
    assert (await world.alice.get(path)).status_code == 200
    assert [row["id"] for row in (await world.alice.get("/tasks")).json()] == [task]
    assert (await world.bob.get(path)).status_code == 404
    # Even while the engine is away: nobody gets an error on what he has just made.
    remote.trouble = down()
    assert (await world.alice.put(path, {})).status_code == 200
    assert (await world.bob.get(path)).status_code == 503


async def test_a_pending_revocation_holds_for_all_at_once(
    own_world: World, remote: MemoryRemote, agent: AgentParty
) -> None:
    world = own_world
    task = await world.alice.make_task(agent)
    path = f"/tasks/{task['id']}"
    team = await world.seed.make_group(world.tenant_id, "team", [world.bot])
    await world.alice.share(task, world.bob, "editor")
    await world.alice.share(task, team, "viewer")
    await remote.take_over()
    remote.live = False
    assert [(await party.get(path)).status_code for party in (world.bob, world.bot, world.alice)] == [200] * 3
    await world.alice.delete(f"{path}/access", subject_type="user", subject_id="bob")
    await world.alice.delete(f"{path}/access", subject_type="group", subject_id="team")
    assert (await world.bob.get(path)).status_code == 200, "the engine has not heard of it, and nothing says so"
    await pend(world, "task", task["id"], revocation=True)
    statuses = [(await party.get(path)).status_code for party in (world.bob, world.bot, world.alice, world.root)]
    assert statuses == [404, 404, 200, 200]
    assert (await world.bob.put(path, {})).status_code == 404
    for party, seen in ((world.bob, []), (world.bot, []), (world.alice, [task["id"]])):
        assert [row["id"] for row in (await party.get("/tasks")).json()] == seen


async def test_a_pending_end_of_membership_holds_for_everything_of_the_tenant(
    own_world: World, remote: MemoryRemote, agent: AgentParty
) -> None:
    world = own_world
    task = await world.alice.make_task(agent)
    await remote.take_over()
    remote.live = False
    await write(world, "tenant", world.tenant_id, "member", world.alice, delete=True)
    await pend(world, "tenant", world.tenant_id, revocation=True)
    assert (await world.alice.get(f"/tasks/{task['id']}")).status_code == 404
    assert (await world.alice.get("/tasks")).json() == []
    assert (await world.alice.rpc(agent, "task/create")).status_code == 404
    assert (await world.root.get(f"/tasks/{task['id']}")).status_code == 200


async def test_a_revocation_that_stays_pending_closes_that_resource_alone(
    own_world: World, remote: MemoryRemote, agent: AgentParty
) -> None:
    world = own_world
    closed, open_ = await world.alice.make_task(agent), await world.alice.make_task(agent)
    await pend(world, "task", closed["id"], revocation=True, age=59)
    assert (await world.alice.get(f"/tasks/{closed['id']}")).status_code == 200
    await pend(world, "task", closed["id"], revocation=True, age=61)
    for party in (world.alice, world.root, agent):
        assert (await party.get(f"/tasks/{closed['id']}")).status_code == 404
        assert [row["id"] for row in (await party.get("/tasks")).json()] == [open_["id"]]


async def _insert_task(world: World, agent: AgentParty) -> str:
    from remit.tasks.service import insert_task

    async with world.seed.database.connection() as connection:
        row = await insert_task(
            connection,
            world.seed.engine,
            tenant_id=world.tenant_id,
            agent_id=agent.id,
            creator=world.alice.subject,
        )
    assert row is not None
    id: str = row["id"]
    return id


@pytest.fixture
async def crowd(own_world: World, remote: MemoryRemote, agent: AgentParty) -> tuple[list[str], set[str]]:
    """Ids of 60 tasks of alice's, newest first, and those that bob may read: one in nine, and the two oldest."""
    tasks = [await _insert_task(own_world, agent) for _ in range(60)][::-1]
    shared = {*tasks[4::9], *tasks[-2:]}
    for id in shared:
        await write(own_world, "task", id, "viewer", own_world.bob)
    await remote.take_over()
    remote.live = False
    return tasks, shared


async def read_pages(party: Party, limit: int) -> list[str]:
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = await party.get("/tasks", limit=limit, **cursor)
        assert response.status_code == 200, response.text
        ids += [row["id"] for row in response.json()]
        if "x-next-cursor" not in response.headers:
            return ids
        cursor = {"cursor": response.headers["x-next-cursor"]}


@pytest.mark.parametrize("way", ["checks", "lookup"])
@pytest.mark.parametrize("limit", [5, 100])
async def test_lists_are_what_checks_allow_at_every_page_size(
    own_world: World,
    remote: MemoryRemote,
    crowd: tuple[list[str], set[str]],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    limit: int,
) -> None:
    tasks, shared = crowd
    if way == "lookup":
        monkeypatch.setattr(visible, "MOST_LOOKED_UP", 20)
    assert await read_pages(own_world.bob, limit) == [id for id in tasks if id in shared]
    assert await read_pages(own_world.root, limit) == tasks
    assert await read_pages(own_world.viewer, limit) == []
    if limit == 5:
        assert (remote.lookups > 0) is (way == "lookup")


async def test_a_list_that_takes_too_many_questions_is_never_short(
    own_world: World,
    remote: MemoryRemote,
    crowd: tuple[list[str], set[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks, shared = crowd
    monkeypatch.setattr(visible, "MOST_CANDIDATES", 50)
    monkeypatch.setattr(decide, "MOST_CANDIDATES", 50)
    refused = await own_world.bob.get("/tasks", limit=20)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:remit:problem:list-too-costly")
    assert refused.headers["x-should-retry"] == "false", "it would take as long again"
    assert LAST_ID in refused.json()["message"]
    # By cursor the same list comes in shorter pages, each of which says where it goes on.
    ids: list[str] = []
    cursor: str | None = LAST_ID
    while cursor:
        page = await own_world.bob.get("/tasks", limit=20, cursor=cursor)
        assert page.status_code == 200
        ids += [row["id"] for row in page.json()]
        cursor = page.headers.get("x-next-cursor")
    assert ids == [id for id in tasks if id in shared]
