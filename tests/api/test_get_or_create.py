"""One name, one task, however many ask for it at once on however many servers; and names that others hold unseen."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support.agent import FakeAgent
from support.graph import Party, World, text
from support.server import Server, serve

from remit.authz.model import Resource


async def test_sixteen_creates_at_once_make_one_task(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    answers = await asyncio.gather(*(world.alice.make_task(agent, "once") for _ in range(16)))
    (id,) = {answer["id"] for answer in answers}
    assert await world.seed.fetch("SELECT id FROM tasks WHERE tenant_id = $1", world.tenant_id) == [{"id": id}]
    assert len(await world.seed.relationships_of("task", id)) == 3
    assert len(await world.seed.fetch("SELECT 1 FROM agent_task_trackers WHERE task_id = $1", id)) == 1


async def test_two_servers_make_one_task(own_server: Server, own_world: World, fake: FakeAgent) -> None:
    agent = await own_world.make_agent(fake.url, "async")
    async with serve(own_server.dsn) as second:
        there = Party(**{**vars(own_world.alice), "http": own_world.seed.http})
        urls = [own_server.url, second.url] * 8
        body = {"method": "task/create", "params": {"name": "once"}}
        answers = await asyncio.gather(*(there.call("POST", f"{url}/agents/{agent.id}/rpc", json=body) for url in urls))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len({answer.json()["result"]["id"] for answer in answers}) == 1
    assert len(await own_world.seed.fetch("SELECT 1 FROM tasks")) == 1


async def test_sixteen_different_names_make_sixteen_tasks(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    answers = await asyncio.gather(*(world.alice.make_task(agent, f"n{n}") for n in range(16)))
    assert len({answer["id"] for answer in answers}) == 16


async def test_no_task_is_made_of_an_agent_that_cannot_take_it(world: World, fake: FakeAgent) -> None:
    nowhere = {kind: await world.make_agent(None, kind) for kind in ("sync", "async")}
    asynchronous, hidden = await world.make_agent(fake.url, "async"), await world.make_agent(fake.url, private=True)
    message, named = {"content": text("x")}, {"name": "n"}
    may_use = {"subject_type": "user", "subject_id": "viewer", "role": "viewer"}
    assert (await world.root.put(f"/agents/{asynchronous.id}/access", may_use)).status_code == 200
    refused = [
        (world.alice, nowhere["async"], "task/create", {}, 400),
        (world.alice, nowhere["async"], "task/create", named, 400),
        (world.alice, nowhere["sync"], "message/send", message, 400),
        (world.alice, asynchronous, "message/send", message, 400),
        (world.alice, asynchronous, "message/send", {**message, "task_name": "n"}, 400),
        (world.viewer, asynchronous, "task/create", {}, 403),
        (world.alice, hidden, "task/create", {}, 404),
        (world.alice, hidden, "task/create", named, 404),
        (world.mallory, asynchronous, "task/create", {}, 404),
    ]
    for party, agent, method, params, status in refused:
        for path in (f"/agents/{agent.id}/rpc", f"/agents/name/{agent.name}/rpc"):
            answer = await party.post(path, {"method": method, "params": params})
            assert answer.status_code == status, (party.name, method, params, answer.text)
    for table in ("tasks", "agent_task_trackers"):
        assert await world.seed.fetch(f"SELECT 1 FROM {table} WHERE tenant_id = $1", world.tenant_id) == []
    made = await world.alice.post(f"/agents/name/{nowhere['sync'].name}/rpc", {"method": "task/create"})
    facts = await world.seed.relationships_of("task", made.json()["result"]["id"])
    assert nowhere["sync"].subject in [fact.subject for fact in facts]


Ask = Callable[[Party, str, str], Awaitable[tuple[int, str]]]


async def ask_create(party: Party, agent: str, name: str) -> tuple[int, str]:
    response = await party.rpc(agent, "task/create", {"name": name, "params": {"a": 1}}, id=1)
    return response.status_code, response.text


async def ask_send(party: Party, agent: str, name: str) -> tuple[int, str]:
    response = await party.rpc(agent, "message/send", {"task_name": name, "content": text("x")}, id=1)
    return response.status_code, response.text


async def ask_send_streaming(party: Party, agent: str, name: str) -> tuple[int, str]:
    params = {"task_name": name, "content": text("x"), "stream": True}
    response = await party.rpc(agent, "message/send", params, id=1)
    return response.status_code, response.text


@pytest.mark.parametrize("ask", [ask_create, ask_send, ask_send_streaming])
async def test_a_name_that_another_holds_unseen_is_the_404_of_an_absent_task(
    world: World, fake: FakeAgent, ask: Ask
) -> None:
    agent = await world.make_agent(fake.url)
    await world.alice.make_task(agent, "taken")
    before = await world.seed.fetch("SELECT * FROM tasks WHERE tenant_id = $1", world.tenant_id)
    status, body = await ask(world.bob, agent.name, "taken")
    assert status == 404
    absent = await world.bob.get("/tasks/name/taken")
    assert absent.status_code == 404
    for member in ("message", "detail", "type", "title"):
        assert f'"{member}":"{absent.json()[member]}"' in body
    assert await world.seed.fetch("SELECT * FROM tasks WHERE tenant_id = $1", world.tenant_id) == before
    assert await world.seed.fetch("SELECT 1 FROM messages WHERE tenant_id = $1", world.tenant_id) == []
    assert fake.calls == []


@pytest.mark.parametrize("ask", [ask_create, ask_send, ask_send_streaming])
async def test_a_reader_of_the_name_is_told_that_he_may_not(world: World, fake: FakeAgent, ask: Ask) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent, "taken")
    await world.alice.share(task, world.bob, "viewer")
    status, _ = await ask(world.bob, agent.name, "taken")
    assert status == 403
    assert fake.calls == []
    assert (await world.alice.get(f"/tasks/{task['id']}")).json()["params"] is None


async def test_the_same_name_in_another_tenant_is_another_task(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    theirs = await world.seed.make_agent(world.mallory.tenant_id, fake.url)
    one, other = await world.alice.make_task(agent, "name"), await world.mallory.make_task(theirs, "name")
    assert one["id"] != other["id"]


async def test_a_name_of_another_agents_task_is_absent_here(world: World, fake: FakeAgent) -> None:
    one, other = await world.make_agent(fake.url), await world.make_agent(fake.url)
    await world.alice.make_task(one, "name")
    for ask in (ask_create, ask_send):
        status, _ = await ask(world.alice, other.name, "name")
        assert status == 404
    assert fake.calls == []


async def test_creating_again_overwrites_params_and_keeps_metadata(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    first = await world.alice.make_task(agent, "name", params={"a": 1}, task_metadata={"m": 1})
    same = await world.alice.make_task(agent, "name")
    assert (same["id"], same["params"], same["updated_at"]) == (first["id"], {"a": 1}, first["updated_at"])
    changed = await world.alice.make_task(agent, "name", params={"b": 2}, task_metadata={"m": 2})
    assert (changed["id"], changed["params"], changed["task_metadata"]) == (first["id"], {"b": 2}, {"m": 1})
    assert [call.method for call in fake.calls] == ["task/create"] * 3
    assert fake.calls[-1].params["params"] == {"b": 2}


async def test_creating_again_resumes_what_was_interrupted_and_leaves_what_ended(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent, "name")
    await world.alice.post(f"/tasks/{task['id']}/interrupt")
    assert (await world.alice.make_task(agent, "name"))["status"] == "RUNNING"
    await world.alice.post(f"/tasks/{task['id']}/complete")
    calls = len(fake.calls)
    assert (await world.alice.make_task(agent, "name"))["status"] == "COMPLETED"
    assert len(fake.calls) == calls


async def test_who_may_not_use_the_agent_or_create_makes_nothing(world: World, fake: FakeAgent) -> None:
    private = await world.make_agent(fake.url, private=True, owner=world.alice)
    public = await world.make_agent(fake.url)
    assert (await world.bob.rpc(private, "task/create")).status_code == 404
    assert (await world.mallory.rpc(public, "task/create")).status_code == 404
    # A viewer of the tenant is not one of the agent's users; with `viewer` on it, he still may not create.
    assert (await world.viewer.rpc(public, "task/create")).status_code == 404
    async with world.seed.database.transaction() as connection:
        await world.seed.grant(connection, Resource("agent", public.id), "viewer", world.viewer.subject)
    assert (await world.viewer.rpc(public, "task/create")).status_code == 403
    assert (await world.viewer.rpc(public, "message/send", {"content": text("x")})).status_code == 403
    assert await world.seed.fetch("SELECT 1 FROM tasks WHERE tenant_id = $1", world.tenant_id) == []
    assert fake.calls == []
