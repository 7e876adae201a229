"""Who else may: roles for users, service accounts and groups; given, replaced, taken, and never lost by accident."""

import asyncio

import pytest
from support.agent import FakeAgent
from support.graph import AgentParty, Json, Party, World

from remit.authz.model import Relationship, Resource, Subject
from remit.ids import new_id


@pytest.fixture
async def agent(world: World, fake: FakeAgent) -> AgentParty:
    return await world.make_agent(fake.url)


@pytest.fixture
async def task(world: World, agent: AgentParty) -> Json:
    return await world.alice.make_task(agent)


async def may(party: Party, task: Json) -> set[str]:
    """What a party may do, by what the routes answer; deleting is asked last because it works."""
    path = f"/tasks/{task['id']}"
    asked = {
        "read": await party.get(path),
        "update": await party.put(path, {}),
        "share": await party.get(f"{path}/access"),
        "cancel": await party.post(f"{path}/cancel", {}),
        "delete": await party.delete(path),
    }
    allowed = {name for name, response in asked.items() if response.status_code == 200}
    refused = 403 if "read" in allowed else 404
    assert all(response.status_code == refused for name, response in asked.items() if name not in allowed)
    return allowed


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("viewer", {"read"}),
        ("editor", {"read", "update"}),
        ("owner", {"read", "update", "share", "cancel", "delete"}),
    ],
)
@pytest.mark.parametrize("kind", ["user", "service_account", "group"])
async def test_a_role_gives_what_it_names(world: World, task: Json, kind: str, role: str, expected: set[str]) -> None:
    party = world.bot if kind == "service_account" else world.bob
    subject = await world.seed.make_group(world.tenant_id, "team", [world.bob]) if kind == "group" else party
    response = await world.alice.share(task, subject, role)
    assert response.status_code == 200, response.text
    assert await may(party, task) == expected


async def test_access_lists_who_holds_what(world: World, task: Json) -> None:
    group = await world.seed.make_group(world.tenant_id, "team", [])
    await world.alice.share(task, world.bob, "viewer")
    answer = (await world.alice.share(task, group, "editor")).json()
    assert answer == (await world.alice.get(f"/tasks/{task['id']}/access")).json()
    held = {(g["subject_type"], g["subject_id"], g["subject_relation"], g["role"]) for g in answer["grants"]}
    assert held == {
        ("user", "alice", None, "owner"),
        ("user", "bob", None, "viewer"),
        ("group", "team", "member", "editor"),
    }


async def test_a_subject_is_named_by_external_id_or_id(world: World, task: Json) -> None:
    for name in ("bob", world.bob.id):
        body = {"subject_type": "user", "subject_id": name, "role": "viewer"}
        assert (await world.alice.put(f"/tasks/{task['id']}/access", body)).status_code == 200
        assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 200
        await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id=name)
        assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 404


async def test_a_new_role_replaces_the_old_one(world: World, task: Json) -> None:
    await world.alice.share(task, world.bob, "editor")
    await world.alice.share(task, world.bob, "viewer")
    relationships = await world.seed.relationships_of("task", task["id"])
    assert [r.relation for r in relationships if r.subject.id == world.bob.id] == ["viewer"]
    history = await world.seed.fetch("SELECT actor FROM relationship_history WHERE resource_id = $1", task["id"])
    assert history == [{"actor": f"user:{world.alice.id}"}]


async def test_who_is_not_of_the_tenant_cannot_be_shared_with(world: World, task: Json) -> None:
    foreign_group = await world.seed.make_group(world.mallory.tenant_id, "theirs", [])
    path = f"/tasks/{task['id']}/access"
    answers = [
        await world.alice.put(path, {"subject_type": kind, "subject_id": name, "role": "viewer"})
        for kind, name in (
            ("user", "unknown"),
            ("user", new_id()),
            ("user", "mallory"),
            ("user", world.mallory.id),
            ("service_account", "alice"),
            ("group", "theirs"),
            ("group", foreign_group.id),
        )
    ]
    for response in answers:
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"].endswith("subject_id")
        for name in ("unknown", "mallory", "theirs"):
            assert name not in response.text
    assert len(await world.seed.relationships_of("task", task["id"])) == 3


async def test_a_disabled_subject_gets_no_role_but_can_lose_one(world: World, task: Json) -> None:
    await world.alice.share(task, world.bob, "viewer")
    await world.seed.execute("UPDATE subjects SET disabled_at = now() WHERE id = $1", world.bob.id)
    assert (await world.alice.share(task, world.bob, "editor")).status_code == 422
    left = await world.alice.delete(f"/tasks/{task['id']}/access", subject_type="user", subject_id="bob")
    assert [grant["subject_id"] for grant in left.json()["grants"]] == ["alice"]


async def test_the_last_owner_stays(world: World, task: Json) -> None:
    path = f"/tasks/{task['id']}/access"
    for response in (
        await world.alice.share(task, world.alice, "viewer"),
        await world.alice.delete(path, subject_type="user", subject_id="alice"),
        await world.alice.delete(path, subject_type="user", subject_id="alice", role="owner"),
        await world.root.delete(path, subject_type="user", subject_id="alice"),
    ):
        assert response.status_code == 409
        assert response.headers["x-should-retry"] == "false"
    assert (await world.alice.delete(path, subject_type="user", subject_id="alice", role="viewer")).status_code == 200
    await world.alice.share(task, world.bob, "owner")
    assert (await world.alice.delete(path, subject_type="user", subject_id="alice")).status_code == 200
    assert (await world.alice.get(f"/tasks/{task['id']}")).status_code == 404
    assert (await world.bob.delete(path, subject_type="user", subject_id="bob")).status_code == 409


async def test_two_owners_do_not_take_each_others_role_at_once(world: World, task: Json) -> None:
    path = f"/tasks/{task['id']}/access"
    await world.alice.share(task, world.bob, "owner")
    async with world.seed.database.transaction() as connection:
        # Both get as far as they can without writing.
        await connection.execute("LOCK TABLE relationships IN SHARE MODE")
        taking = [
            asyncio.create_task(party.delete(path, subject_type="user", subject_id=other.name))
            for party, other in ((world.alice, world.bob), (world.bob, world.alice))
        ]
        await world.seed.wait_for_rows(
            2,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
    answers = await asyncio.gather(*taking)
    # The later one has lost his own role by then: for him there is no such task any more.
    assert sorted(answer.status_code for answer in answers) == [200, 404]
    relationships = await world.seed.relationships_of("task", task["id"])
    assert len([r for r in relationships if r.relation == "owner"]) == 1


async def test_leaving_a_group_takes_what_it_gave(world: World, task: Json) -> None:
    inner = await world.seed.make_group(world.tenant_id, "inner", [world.bob])
    outer = await world.seed.make_group(world.tenant_id, "outer", [])
    async with world.seed.database.transaction() as connection:
        await world.seed.grant(connection, Resource("group", outer.id), "member", Subject("group", inner.id, "member"))
    await world.alice.share(task, outer, "viewer")
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 200
    assert [t["id"] for t in (await world.bob.get("/tasks")).json()] == [task["id"]]
    async with world.seed.database.transaction() as connection:
        gone = [Relationship(Resource("group", inner.id), "member", world.bob.subject)]
        await world.seed.engine.write(connection, delete=gone)
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 404
    assert (await world.bob.get("/tasks")).json() == []


async def test_a_schema_without_expiry_refuses_it(world: World, task: Json) -> None:
    response = await world.alice.share(task, world.bob, "viewer", expires_at="2099-01-01T00:00:00Z")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body.expires_at"
    assert (await world.bob.get(f"/tasks/{task['id']}")).status_code == 404


async def test_sharing_is_audited(world: World, task: Json) -> None:
    shared = await world.alice.share(task, world.bob, "editor")
    path = f"/tasks/{task['id']}/access"
    taken = await world.alice.delete(path, subject_type="user", subject_id="bob")
    await world.alice.share(task, world.alice, "viewer")  # refused: not a line of the trail
    rows = await world.seed.fetch(
        "SELECT action, outcome, actor_id, request_id, detail FROM audit WHERE resource_id = $1 ORDER BY id", task["id"]
    )
    bob = f"user:{world.bob.id}"
    assert rows == [
        {
            "action": "task.share",
            "outcome": "done",
            "actor_id": world.alice.id,
            "request_id": shared.headers["x-request-id"],
            "detail": {"subject": bob, "role": "editor"},
        },
        {
            "action": "task.unshare",
            "outcome": "done",
            "actor_id": world.alice.id,
            "request_id": taken.headers["x-request-id"],
            "detail": {"subject": bob, "roles": ["editor"]},
        },
    ]


async def test_an_agent_does_not_share_the_tasks_it_was_given(world: World, agent: AgentParty, task: Json) -> None:
    assert (await agent.share(task, world.bob, "viewer")).status_code == 403
    own = await agent.make_task(agent)
    assert (await agent.share(own, world.bob, "viewer")).status_code == 200
    assert (await world.bob.get(f"/tasks/{own['id']}")).status_code == 200
