"""Agents are shared as tasks are, and `/access/me` says what the caller may do, for many resources at once."""

import pytest
from support.graph import World
from support.server import Server, record_statements

from remit.ids import new_id


async def test_an_agent_is_shared_like_a_task(world: World) -> None:
    agent = await world.make_agent("http://127.0.0.1:9", private=True, owner=world.alice)
    path = f"/agents/{agent.id}"
    team = await world.seed.make_group(world.tenant_id, "team", [world.bob])
    assert (await world.bob.get(path)).status_code == 404
    shared = await world.alice.put(
        f"{path}/access", {"subject_type": "group", "subject_id": team.name, "role": "viewer"}
    )
    assert {(grant["subject_id"], grant["role"]) for grant in shared.json()["grants"]} == {
        ("alice", "owner"),
        ("team", "viewer"),
    }
    assert (await world.bob.get(path)).status_code == 200
    assert (await world.bob.rpc(agent, "task/create")).status_code == 200
    assert (await world.bob.get(f"{path}/access")).status_code == 403
    assert (await world.bob.delete(path)).status_code == 403
    assert (await world.mallory.get(f"{path}/access")).status_code == 404
    assert (await world.alice.delete(f"{path}/access", subject_type="group", subject_id="team")).status_code == 200
    assert (await world.bob.get(path)).status_code == 404
    last = await world.alice.delete(f"{path}/access", subject_type="user", subject_id="alice")
    assert last.status_code == 409


async def test_a_disabled_member_loses_access_at_once(world: World) -> None:
    agent = await world.make_agent("http://127.0.0.1:9", private=True, owner=world.alice)
    body = {"subject_type": "user", "subject_id": "bob", "role": "editor"}
    assert (await world.alice.put(f"/agents/{agent.id}/access", body)).status_code == 200
    assert (await world.bob.get(f"/agents/{agent.id}")).status_code == 200
    await world.seed.execute("UPDATE subjects SET disabled_at = now() WHERE id = $1", world.bob.id)
    assert (await world.bob.get(f"/agents/{agent.id}")).status_code == 401
    refused = await world.alice.put(f"/agents/{agent.id}/access", body)
    assert refused.status_code == 422


async def test_what_one_may_do_is_told_for_many_in_one_statement(own_server: Server, own_world: World) -> None:
    world = own_world
    agent = await world.make_agent("http://127.0.0.1:9")
    owned = [await world.alice.make_task(agent) for _ in range(3)]
    read_only, hidden = await world.bob.make_task(agent), await world.bob.make_task(agent)
    await world.bob.share(read_only, world.alice, "viewer")
    foreign = await world.seed.make_agent(world.mallory.tenant_id, "http://127.0.0.1:9")
    elsewhere = await world.mallory.make_task(foreign)
    ids = [*(task["id"] for task in (*owned, read_only, hidden, elsewhere)), new_id()]
    expected = [(read_only["id"], False), *((task["id"], True) for task in reversed(owned))]
    await world.alice.get("/access/me", type="task", operation="cancel")
    with record_statements(own_server) as statements:
        answer = await world.alice.get("/access/me", type="task", operation="cancel", ids=ids)
    assert answer.status_code == 200, answer.text
    assert [(item["id"], item["allowed"]) for item in answer.json()["items"]] == expected
    assert len(statements) == 1, "the key is asked about in the statement that answers"
    everything = await world.alice.get("/access/me", type="task", operation="cancel")
    assert [(item["id"], item["allowed"]) for item in everything.json()["items"]] == expected
    first = await world.alice.get("/access/me", type="task", operation="cancel", limit=3)
    rest = await world.alice.get(
        "/access/me", type="task", operation="cancel", limit=3, cursor=first.headers["x-next-cursor"]
    )
    assert first.json()["items"] + rest.json()["items"] == answer.json()["items"]
    assert "x-next-cursor" not in rest.headers
    # It says what the operation itself says.
    for id, allowed in expected:
        cancelled = await world.alice.post(f"/tasks/{id}/cancel", {})
        assert cancelled.status_code == (200 if allowed else 403)


async def test_every_type_and_operation_is_answered_or_refused(world: World) -> None:
    agent = await world.make_agent("http://127.0.0.1:9", owner=world.alice)
    made = await world.alice.post("/agent_api_keys", {"agent_id": agent.id, "name": "k"})
    for type, operations in (
        ("agent", {"read": True, "update": True, "delete": True, "execute": True, "share": True, "cancel": None}),
        ("api_key", {"read": True, "delete": True, "execute": None, "cancel": None}),
    ):
        for operation, allowed in operations.items():
            answer = await world.alice.get("/access/me", type=type, operation=operation)
            assert answer.status_code == (422 if allowed is None else 200), (type, operation)
            if allowed is not None:
                id = agent.id if type == "agent" else made.json()["id"]
                assert {"id": id, "allowed": True} in answer.json()["items"]


@pytest.mark.parametrize(
    "query",
    [
        {"type": "task"},
        {"operation": "read"},
        {"type": "tenant", "operation": "read"},
        {"type": "task", "operation": "manage"},
        {"type": "task", "operation": "read", "ids": "x"},
    ],
)
async def test_a_question_that_cannot_be_asked_is_422(world: World, query: dict[str, str]) -> None:
    assert (await world.alice.get("/access/me", **query)).status_code == 422
