"""Children of a task that a caller may not read do not exist for him; one who may read it may still not change them."""

from collections.abc import Callable
from typing import Any

from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World
from support.server import Server, record_statements

from remit.ids import new_id

CONTENT = {"type": "text", "author": "user", "content": "x"}
AT = "2031-01-01T00:00:00Z"

Request = Callable[[Json], tuple[str, str, Any]]

READS: dict[str, Request] = {
    "tracker": lambda ids: ("GET", f"/tracker/{ids['tracker']}", None),
    "span": lambda ids: ("GET", f"/spans/{ids['span']}", None),
    "spans of the task": lambda ids: ("GET", f"/spans?task_id={ids['task']}", None),
    "message pages": lambda ids: ("GET", f"/messages/paginated?task_id={ids['task']}", None),
    "filtered messages": lambda ids: ("GET", f"/messages?task_id={ids['task']}&filters=[]", None),
    "export": lambda ids: ("GET", f"/tasks/{ids['task']}/export", None),
    "checkpoint": lambda ids: ("POST", "/checkpoints/get-tuple", {"thread_id": ids["task"]}),
    "checkpoints": lambda ids: ("POST", "/checkpoints/list", {"thread_id": ids["task"]}),
}
WRITES: dict[str, Request] = {
    "put tracker": lambda ids: ("PUT", f"/tracker/{ids['tracker']}", {}),
    "put tracker's event": lambda ids: (
        "PUT",
        f"/tracker/{ids['tracker']}",
        {"last_processed_event_id": ids["event"]},
    ),
    "post span": lambda ids: (
        "POST",
        "/spans",
        {"trace_id": "t", "name": "x", "start_time": AT, "task_id": ids["task"]},
    ),
    "patch span": lambda ids: ("PATCH", f"/spans/{ids['span']}", {"name": "x"}),
    "post batch": lambda ids: ("POST", "/messages/batch", {"task_id": ids["task"], "contents": [CONTENT]}),
    "post empty batch": lambda ids: ("POST", "/messages/batch", {"task_id": ids["task"], "contents": []}),
    "put batch": lambda ids: (
        "PUT",
        "/messages/batch",
        {"task_id": ids["task"], "updates": {ids["message"]: CONTENT}},
    ),
    "put checkpoint": lambda ids: (
        "POST",
        "/checkpoints/put",
        {"thread_id": ids["task"], "checkpoint_id": "2", "checkpoint": {}},
    ),
    "put writes": lambda ids: (
        "POST",
        "/checkpoints/put-writes",
        {"thread_id": ids["task"], "checkpoint_id": "2", "writes": []},
    ),
    "delete thread": lambda ids: ("POST", "/checkpoints/delete-thread", {"thread_id": ids["task"]}),
    "clean": lambda ids: ("POST", f"/tasks/{ids['task']}/clean", {"force": True}),
    "rehydrate": lambda ids: ("POST", f"/tasks/{ids['task']}/rehydrate", {"task_id": ids["task"]}),
}
# What asks `delete`: more than who may change the task may do.
DELETES = ("delete thread", "clean")


async def make_hidden(world: World, agent: AgentParty) -> Json:
    """A task of alice's with a child of every kind."""
    task = await world.alice.make_task(agent, "hidden")
    message = await world.alice.post("/messages", {"task_id": task["id"], "content": CONTENT})
    event = await world.alice.rpc(agent, "event/send", {"task_id": task["id"]})
    span = await agent.post("/spans", {"trace_id": "t", "name": "x", "start_time": AT, "task_id": task["id"]})
    (tracker,) = (await agent.get("/tracker", task_id=task["id"])).json()
    put = {"thread_id": task["id"], "checkpoint_id": "1", "checkpoint": {}}
    assert (await agent.post("/checkpoints/put", put)).status_code == 200
    return {
        "task": task["id"],
        "message": message.json()["id"],
        "event": event.json()["result"]["id"],
        "span": span.json()["id"],
        "tracker": tracker["id"],
    }


async def call(party: Party, request: Request, ids: Json) -> int:
    method, path, body = request(ids)
    return (await party.call(method, path, json=body)).status_code


async def test_denied_and_absent_are_the_same_answer_by_the_same_statements(
    own_server: Server, own_world: World, fake: FakeAgent
) -> None:
    world = own_world
    hidden = await make_hidden(world, await world.make_agent(fake.url, "async"))
    absent = {key: new_id() for key in hidden}
    other = await world.make_agent(fake.url, "async")

    async def observe(party: Party, request: Request, ids: Json) -> tuple[int, str, list[str]]:
        method, path, body = request(ids)
        with record_statements(own_server) as statements:
            response = await party.call(method, path, json=body)
        text = response.text.replace(response.json()["request_id"], "ID")
        for key, value in ids.items():
            text = text.replace(value, key)
        return response.status_code, text, list(statements)

    for party in (world.bob, world.mallory, other):
        await observe(party, READS["export"], hidden)  # the first requests prepare what later ones find
    for party in (world.bob, world.mallory, other):
        for name, request in (READS | WRITES).items():
            denied, truly = await observe(party, request, hidden), await observe(party, request, absent)
            assert denied[0] == 404, f"{party.name}: {name} is {denied[0]}"
            assert denied == truly, f"{party.name}: {name}"


async def test_who_may_do_what(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    hidden = await make_hidden(world, agent)
    await world.alice.share({"id": hidden["task"]}, world.viewer, "viewer")
    await world.alice.share({"id": hidden["task"]}, world.bot, "editor")
    for name, request in READS.items():
        for party in (world.viewer, world.bot, agent, world.root, world.alice):
            assert await call(party, request, hidden) == 200, f"{party.name}: {name}"
    for name, request in WRITES.items():
        assert await call(world.viewer, request, hidden) == 403, name
    for name in DELETES:
        assert await call(world.bot, WRITES[name], hidden) == 403, name
    for name, request in WRITES.items():
        # 400: allowed, and refused for the state of the task.
        expected = (200, 204) if name not in ("clean", "rehydrate") else (400,)
        if name not in DELETES:
            assert await call(world.bot, request, hidden) in expected, name
        assert await call(world.alice, request, hidden) in expected, name
        assert await call(agent, request, hidden) in expected, name


async def test_a_deleted_task_takes_its_children_along(world: World, fake: FakeAgent) -> None:
    agent = await world.make_agent(fake.url, "async")
    hidden = await make_hidden(world, agent)
    assert (await world.alice.delete(f"/tasks/{hidden['task']}")).status_code == 200
    for party in (world.alice, agent, world.root):
        for name, request in (READS | WRITES).items():
            assert await call(party, request, hidden) == 404, f"{party.name}: {name}"
