"""Lists: only what the caller may read, each filter, and pages without overlap or gap."""

import json
from typing import Any

import pytest
from support.agent import FakeAgent
from support.graph import Json, Party, World

from remit.ids import new_id


async def ids_of(party: Party, **params: Any) -> list[str]:
    response = await party.get("/tasks", **params)
    assert response.status_code == 200, response.text
    return [task["id"] for task in response.json()]


async def test_a_list_holds_what_its_reader_may_read(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, owner=world.bob)
    other = await world.make_agent(fake.url)
    mine = (await world.alice.make_task(agent))["id"]
    shared = await world.alice.make_task(other)
    hidden = (await world.alice.make_task(other))["id"]
    await world.alice.share(shared, world.bot, "viewer")
    assert await ids_of(world.alice) == [hidden, shared["id"], mine]
    assert await ids_of(world.root) == [hidden, shared["id"], mine]
    assert await ids_of(world.bob) == [mine]  # as the owner of its agent
    assert await ids_of(world.bot) == [shared["id"]]
    assert await ids_of(agent) == [mine]
    assert await ids_of(other) == [hidden, shared["id"]]
    assert await ids_of(world.viewer) == await ids_of(world.mallory) == []


async def test_filters_narrow_a_list(world: World, fake: FakeAgent) -> None:
    one, two = await world.make_agent(fake.url), await world.make_agent(fake.url)
    by_alice = await world.alice.make_task(one, task_metadata={"team": "red", "n": {"deep": [1, 2]}})
    by_bot = await world.bot.make_task(two, task_metadata={"team": "blue"})
    by_agent = await one.make_task(one)
    completed = await world.alice.make_task(two)
    assert (await world.alice.post(f"/tasks/{completed['id']}/complete", {})).status_code == 200
    a, b, c, d = (task["id"] for task in (by_alice, by_bot, by_agent, completed))
    for params, expected in (
        ({}, [d, c, b, a]),
        ({"agent_id": one.id}, [c, a]),
        ({"agent_name": two.name}, [d, b]),
        ({"agent_name": "no-such-agent"}, []),
        ({"status": "RUNNING"}, [c, b, a]),
        ({"status": "COMPLETED"}, [d]),
        ({"task_metadata": json.dumps({"team": "red"})}, [a]),
        ({"task_metadata": json.dumps({"n": {"deep": [2]}})}, [a]),
        ({"creator_user_id": "alice"}, [d, a]),
        ({"creator_user_id": world.alice.id}, [d, a]),
        ({"creator_user_id": "bot"}, []),
        ({"creator_service_account_id": "bot"}, [b]),
        ({"creator_user_id": "alice", "status": "RUNNING", "agent_id": one.id}, [a]),
        ({"creator": "me"}, []),
    ):
        assert await ids_of(world.root, **params) == expected, params
    assert await ids_of(world.alice, creator="me") == [d, a]
    assert await ids_of(world.bot, creator="me") == [b]
    assert await ids_of(one, creator="me") == [c]
    assert await ids_of(world.alice, creator_service_account_id="bot") == []


async def test_a_creators_name_is_looked_up_in_the_callers_tenant(world: World, fake: FakeAgent) -> None:
    namesake = await world.seed.make_subject(world.mallory.tenant_id, "alice")
    agent = await world.seed.make_agent(world.mallory.tenant_id, fake.url)
    await namesake.make_task(agent)
    assert await ids_of(world.root, creator_user_id="alice") == []
    assert len(await ids_of(world.mallory, creator_user_id="alice")) == 1


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_pages_meet_without_overlap_or_gap(world: World, fake: FakeAgent, limit: int) -> None:
    agent = await world.make_agent(fake.url)
    made = [(await world.alice.make_task(agent))["id"] for _ in range(7)]
    await world.bob.make_task(agent)
    await world.bob.make_task(agent)
    expected = list(reversed(made))
    by_cursor: list[str] = []
    params: dict[str, Any] = {"limit": limit}
    for _ in range(9):
        response = await world.alice.get("/tasks", **params)
        by_cursor += [task["id"] for task in response.json()]
        if (cursor := response.headers.get("x-next-cursor")) is None:
            break
        params["cursor"] = cursor
    assert by_cursor == expected
    by_number: list[str] = []
    for number in range(1, 10):
        page = await ids_of(world.alice, limit=limit, page_number=number)
        by_number += page
        if len(page) < limit:
            break
    assert by_number == expected


async def test_a_page_stays_where_it_was_when_newer_rows_come(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    made = [(await world.alice.make_task(agent))["id"] for _ in range(3)]
    first = await world.alice.get("/tasks", limit=2)
    await world.alice.make_task(agent)
    second = await ids_of(world.alice, limit=2, cursor=first.headers["x-next-cursor"])
    assert [task["id"] for task in first.json()] + second == list(reversed(made))


async def test_relationships_add_the_agents_that_the_caller_may_read(world: World, fake: FakeAgent) -> None:
    private = await world.make_agent(fake.url, private=True, owner=world.bob)
    public = await world.make_agent(fake.url)
    seen, unseen = await world.bob.make_task(public), await world.bob.make_task(private)
    for task in (seen, unseen):
        await world.bob.share(task, world.alice, "viewer")

    async def agents(party: Party) -> list[list[str]]:
        tasks: list[Json] = (await party.get("/tasks", relationships="agents")).json()
        single = [(await party.get(f"/tasks/{task['id']}", relationships="agents")).json() for task in tasks]
        assert [task["agents"] for task in tasks] == [task["agents"] for task in single]
        return [[agent["id"] for agent in task["agents"]] for task in tasks]

    assert await agents(world.bob) == [[private.id], [public.id]]
    assert await agents(world.alice) == [[], [public.id]]


async def test_a_listed_task_is_what_it_is_alone_without_its_params(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    for creator in (world.alice, world.bot, agent):
        await creator.make_task(agent, params={"secret": 1}, task_metadata={"n": [1.5, None]})
    for asked in ({}, {"relationships": "agents"}):
        tasks = (await world.root.get("/tasks", **asked)).json()
        assert len(tasks) == 3
        for listed in tasks:
            alone = (await world.root.get(f"/tasks/{listed['id']}", **asked)).json()
            assert alone.pop("params") == {"secret": 1}
            assert listed == alone


async def test_agents_are_listed_for_who_may_read_them(world: World, fake: FakeAgent) -> None:
    public = await world.make_agent(fake.url)
    private = await world.make_agent(fake.url, private=True, owner=world.bob)

    async def listed(party: Party, **params: Any) -> list[str]:
        response = await party.get("/agents", **params)
        assert "acp_url" not in response.text
        assert fake.url not in response.text
        return [agent["id"] for agent in response.json()]

    assert await listed(world.alice) == [public.id]
    assert await listed(world.bob) == await listed(world.root) == [private.id, public.id]
    assert await listed(public) == [public.id]
    assert await listed(world.mallory) == []
    first = await world.bob.get("/agents", limit=1)
    assert await listed(world.bob, limit=5, cursor=first.headers["x-next-cursor"]) == [public.id]


async def test_the_agents_of_a_task_are_for_who_may_read_the_task(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    assert len((await world.alice.get("/agents", task_id=task["id"])).json()) == 1
    for party in (world.bob, world.mallory):
        assert (await party.get("/agents", task_id=task["id"])).json() == []
    assert (await world.alice.get("/agents", task_id=new_id())).json() == []


async def test_agents_are_found_by_what_their_card_says(world: World) -> None:
    cards = ({"permits_capable": True, "tags": ["a", "b"]}, {"permits_capable": False}, None)
    made = []
    for number, card in enumerate(cards):
        body = {"name": f"card-{number}", "acp_url": "http://127.0.0.1:9", "acp_type": "async"}
        metadata = {"registration_metadata": {"agent_card": {"metadata": card}}} if card else {}
        made.append((await world.alice.post("/agents/register", {**body, **metadata})).json()["id"])

    async def find(filter: str) -> list[str]:
        answer = await world.alice.get("/agents", agent_card_metadata=filter)
        assert answer.status_code == 200, answer.text
        return [agent["id"] for agent in answer.json()]

    assert await find('{"permits_capable": true}') == [made[0]]
    assert await find('{"tags": ["b"]}') == [made[0]]
    assert await find('{"tags": ["c"]}') == []
    assert (await world.mallory.get("/agents", agent_card_metadata='{"permits_capable": true}')).json() == []
    for bad in ("", "[]", "{}", "x"):
        assert (await world.alice.get("/agents", agent_card_metadata=bad)).status_code == 422, bad
