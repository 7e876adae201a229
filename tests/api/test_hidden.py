"""What a caller may not read does not exist for him: the same answer, by the same statements in the same order."""

from collections.abc import Callable
from typing import Any

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World
from support.server import Server, record_statements

from remit.authz.model import Resource
from remit.ids import new_id

CONTENT = {"type": "text", "author": "user", "content": "x"}

# Each request, with the ids and names that it is made with.
Request = Callable[[Json], tuple[str, str, Any]]


def verb(verb: str) -> Request:
    return lambda ids: ("POST", f"/tasks/{ids['task']}/{verb}", {})


def call(method: str, by: str = "task_id", **params: Any) -> Request:
    def make(ids: Json) -> tuple[str, str, Any]:
        named = {by: ids["task" if by == "task_id" else "name"]}
        return "POST", f"/agents/{ids['agent']}/rpc", {"id": 1, "method": method, "params": {**named, **params}}

    return make


REQUESTS: dict[str, Request] = {
    "task": lambda ids: ("GET", f"/tasks/{ids['task']}", None),
    "task by name": lambda ids: ("GET", f"/tasks/name/{ids['name']}", None),
    "stream": lambda ids: ("GET", f"/tasks/{ids['task']}/stream", None),
    "stream by name": lambda ids: ("GET", f"/tasks/name/{ids['name']}/stream", None),
    "put": lambda ids: ("PUT", f"/tasks/{ids['task']}", {"task_metadata": {"a": 1}}),
    "put by name": lambda ids: ("PUT", f"/tasks/name/{ids['name']}", {"task_metadata": {"a": 1}}),
    "delete": lambda ids: ("DELETE", f"/tasks/{ids['task']}", None),
    "delete by name": lambda ids: ("DELETE", f"/tasks/name/{ids['name']}", None),
    **{name: verb(name) for name in ("complete", "fail", "cancel", "terminate", "timeout", "interrupt")},
    "access": lambda ids: ("GET", f"/tasks/{ids['task']}/access", None),
    "share": lambda ids: (
        "PUT",
        f"/tasks/{ids['task']}/access",
        {"subject_type": "user", "subject_id": "bob", "role": "owner"},
    ),
    "unshare": lambda ids: ("DELETE", f"/tasks/{ids['task']}/access?subject_type=user&subject_id=bob", None),
    "messages": lambda ids: ("GET", f"/messages?task_id={ids['task']}", None),
    "message": lambda ids: ("GET", f"/messages/{ids['message']}", None),
    "post message": lambda ids: ("POST", "/messages", {"task_id": ids["task"], "content": CONTENT}),
    "put message": lambda ids: (
        "PUT",
        f"/messages/{ids['message']}",
        {"task_id": ids["task"], "content": CONTENT},
    ),
    "states": lambda ids: ("GET", f"/states?task_id={ids['task']}", None),
    "state": lambda ids: ("GET", f"/states/{ids['state']}", None),
    "post state": lambda ids: (
        "POST",
        "/states",
        {"task_id": ids["task"], "agent_id": ids["agent"], "state": {}},
    ),
    "put state": lambda ids: ("PUT", f"/states/{ids['state']}", {"state": {"a": 1}}),
    "delete state": lambda ids: ("DELETE", f"/states/{ids['state']}", None),
    "events": lambda ids: ("GET", f"/events?task_id={ids['task']}&agent_id={ids['agent']}", None),
    "event": lambda ids: ("GET", f"/events/{ids['event']}", None),
    "send": call("message/send", content=CONTENT),
    "send event": call("event/send"),
    "send event by name": call("event/send", "task_name"),
    "rpc cancel": call("task/cancel"),
    "rpc cancel by name": call("task/cancel", "task_name"),
    "rpc interrupt": call("task/interrupt"),
    "rpc interrupt by name": call("task/interrupt", "task_name"),
}


async def make_hidden(world: World, agent: AgentParty) -> Json:
    """A task of alice's with a child of every kind."""
    task = await world.alice.make_task(agent, "hidden")
    message = await world.alice.post("/messages", {"task_id": task["id"], "content": CONTENT})
    state = await agent.post("/states", {"task_id": task["id"], "agent_id": agent.id, "state": {}})
    event = await world.alice.rpc(agent, "event/send", {"task_id": task["id"]})
    return {
        "task": task["id"],
        "name": "hidden",
        "agent": agent.id,
        "message": message.json()["id"],
        "state": state.json()["id"],
        "event": event.json()["result"]["id"],
    }


async def test_denied_and_absent_are_the_same_answer_by_the_same_statements(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    world = own_world
    hidden = await make_hidden(world, await world.make_agent(fake.url, "async"))
    absent = {key: new_id() for key in hidden} | {"agent": hidden["agent"], "name": "absent"}
    before = await world.seed.fetch("SELECT * FROM tasks")
    calls = len(fake.calls)

    async def observe(party: Party, request: Request, ids: Json) -> tuple[int, str, Json, list[str]]:
        method, path, body = request(ids)
        with record_statements(own_server) as statements:
            response = await party.call(method, path, json=body)
        text = response.text.replace(response.json()["request_id"], "ID")
        for key, value in ids.items():
            text = text.replace(value, key)
        headers = dict(response.headers)
        for name in ("x-request-id", "content-length", "date"):
            headers.pop(name, None)
        return response.status_code, text, headers, list(statements)

    # The first requests of a process prepare what later ones find.
    for party in (world.bob, world.mallory):
        await observe(party, REQUESTS["task"], hidden)
    for party in (world.bob, world.mallory):
        for name, request in REQUESTS.items():
            denied, truly = await observe(party, request, hidden), await observe(party, request, absent)
            assert denied[0] == 404, f"{party.name}: {name} is {denied[0]}"
            assert denied == truly, f"{party.name}: {name}"
    assert await world.seed.fetch("SELECT * FROM tasks") == before
    assert len(fake.calls) == calls


async def test_an_agent_is_hidden_like_a_task(own_server: Server, own_world: World) -> None:
    world = own_world
    agent = await world.make_agent(None, private=True)
    await world.bob.get("/me")
    for method, path in (
        ("GET", "/agents/{id}"),
        ("GET", "/agents/name/{name}"),
        ("DELETE", "/agents/{id}"),
        ("DELETE", "/agents/name/{name}"),
    ):
        seen = []
        for id, name in ((agent.id, agent.name), (new_id(), "absent")):
            with record_statements(own_server) as statements:
                response = await world.bob.call(method, path.format(id=id, name=name))
            body = response.text.replace(response.json()["request_id"], "").replace(id, "").replace(name, "")
            seen.append((response.status_code, body, list(statements)))
        assert seen[0] == seen[1]
        assert seen[0][0] == 404


async def test_403_is_for_readers_only(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    hidden = await make_hidden(world, agent)
    await world.alice.share({"id": hidden["task"]}, world.bob, "viewer")
    readable = ("task", "task by name", "messages", "message", "states", "state", "events", "event")
    for name, request in REQUESTS.items():
        if "stream" in name:
            continue
        method, path, body = request(hidden)
        response = await world.bob.call(method, path, json=body)
        assert response.status_code == (200 if name in readable else 403), name
        method, path, body = request(hidden)
        assert (await world.mallory.call(method, path, json=body)).status_code == 404, name


async def wait_for_audit(world: World, actor: Party) -> list[Json]:
    """The entries of an actor; they are written just after the answer."""
    return await world.seed.wait_for_rows(
        1,
        "SELECT tenant_id, actor_type, action, outcome, resource_type, resource_id, request_id "
        "FROM audit WHERE actor_id = $1 ORDER BY id",
        actor.id,
    )


async def test_a_403_is_audited(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.alice.share(task, world.bob, "viewer")
    response = await world.bob.delete(f"/tasks/{task['id']}")
    assert await wait_for_audit(world, world.bob) == [
        {
            "tenant_id": world.tenant_id,
            "actor_type": "user",
            "action": "task.delete",
            "outcome": "denied",
            "resource_type": "task",
            "resource_id": task["id"],
            "request_id": response.headers["x-request-id"],
        }
    ]


async def test_a_404_on_another_tenants_task_is_audited(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    await world.mallory.get(f"/tasks/{new_id()}")
    await world.mallory.get(f"/tasks/{task['id']}")
    rows = await wait_for_audit(world, world.mallory)
    assert [(row["outcome"], row["action"], row["resource_id"]) for row in rows] == [
        ("other_tenant", "task.read", task["id"])
    ]
    assert rows[0]["tenant_id"] == world.mallory.tenant_id


@pytest.mark.parametrize("relation", ["viewer", "owner"])
async def test_a_relationship_that_leaks_across_tenants_grants_nothing(
    world: World, fake: FakeAgent, relation: str
) -> None:
    agent = await world.make_agent(fake.url)
    task = await world.alice.make_task(agent)
    async with world.seed.database.transaction() as connection:
        await world.seed.grant(connection, Resource("task", task["id"]), relation, world.mallory.subject)
    assert (await world.mallory.get(f"/tasks/{task['id']}")).status_code == 404
    assert (await world.mallory.get("/tasks")).json() == []
    assert (await world.mallory.delete(f"/tasks/{task['id']}")).status_code == 404
